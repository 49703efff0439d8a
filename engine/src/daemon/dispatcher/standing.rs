//! Whether this daemon starts runs, or another one.

use std::collections::BTreeMap;

use super::super::generation::Generation;
use super::super::peers::Shown;
use super::super::view::{ProjectView, Role, RunState};

/// The standing of a daemon among those of its state.
pub(super) struct Standing {
    pub(super) role: Role,
    /// This daemon's file is older than that of a generation which was adopted after it, so it does not become the
    /// dispatcher.
    pub(super) older_than: Option<i64>,
    /// What the dispatcher shows, while that is another daemon.
    pub(super) shown: Shown,
}

impl Default for Standing {
    fn default() -> Self {
        Self { role: Role::Standby, older_than: None, shown: Shown::default() }
    }
}

impl Standing {
    /// The state of the enabled projects by name, and the runs that are queued or running by id, as the dispatcher shows
    /// them.
    pub(super) fn projects(
        &self,
        generation: &Generation,
    ) -> (BTreeMap<String, ProjectView>, BTreeMap<String, RunState>) {
        let view = |name: &String| self.shown.projects.get(name).cloned().unwrap_or_default();
        let views = generation.projects.keys().map(|name| (name.clone(), view(name))).collect();
        (views, self.shown.runs.clone())
    }

    /// Why this daemon does not work with its file.
    pub(super) fn refused(&self) -> Option<String> {
        let newest = self.older_than?;
        Some(format!(
            "the file differs from generation {newest}, which was applied after it: this daemon does not start runs with an \
             older file. Update the file, or apply it again with `reposync reload`"
        ))
    }
}
