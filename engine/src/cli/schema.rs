//! `reposync schema`: the JSON Schema of the file, for editors.

use crate::config;

/// The schema as text.
pub(crate) fn schema() -> String {
    format!("{:#}\n", config::schema())
}
