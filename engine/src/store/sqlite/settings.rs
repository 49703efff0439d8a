//! Settings of `kind = "sqlite"`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::settings::{Checker, lossy};
use crate::stage::{StageConfig, edit_costs};
use crate::store::ranking::check_weights;

/// `kind = "sqlite"`: embedded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SqliteSettings {
    /// The database file, relative to `reposync.toml`.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// Weight of the terms by vectors in a query; 0: words alone.
    pub vector_weight: f64,
    /// Weight of the terms by words in a query; 0: vectors alone.
    pub text_weight: f64,
    /// Whether tests and files of low value (vendored, generated, changelogs, …) score less.
    pub penalties: bool,
}

impl Default for SqliteSettings {
    fn default() -> Self {
        Self { path: ".reposync/index.db".into(), vector_weight: 1.0, text_weight: 1.0, penalties: true }
    }
}

impl StageConfig for SqliteSettings {
    const KIND: &'static str = "sqlite";

    edit_costs! {
        index: path;
        limits: vector_weight, text_weight, penalties;
    }

    fn check(&mut self, check: &mut Checker<'_>) {
        check.not_empty("path", self.path.as_os_str().is_empty());
        check.home("path", &self.path);
        self.path = check.absolute(&self.path);
        check_weights(check, self.vector_weight, self.text_weight);
    }
}
