//! Settings as they are in force.

use super::App;
use crate::config;
use crate::model::mask_secrets;

impl App {
    /// The settings of a project as TOML, with defaults filled in and secrets masked; `with_stages`: and those of the
    /// stages in its pipeline. `None`: the file does not declare it, or the caller sees a part of its repositories.
    pub fn project_settings(&self, name: &str, with_stages: bool) -> Option<String> {
        if !self.access.has_project(name) || !self.access.is_of_all_repositories() {
            return None;
        }
        let text = config::show_project(&self.config, name, with_stages)?;
        Some(mask_secrets(&text).into_owned())
    }
}
