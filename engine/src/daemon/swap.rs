//! What a switch of generations means for runs: which are cancelled, and which are started.

use std::collections::BTreeSet;

use super::generation::Generation;
use crate::config::{ConfigDiff, ProjectChange};

/// The consequences of a switch, by project name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Swap {
    /// The active run is cancelled after the current batch, and the project is planned again.
    pub(super) replanned: Vec<String>,
    /// Removed or disabled: the active run is cancelled, and none is started.
    pub(super) gone: Vec<String>,
    /// True if there may be new orphans, or if `engine.prune` changed.
    pub(super) orphans: bool,
}

impl Swap {
    /// `components`: projects whose component file was replaced without a change of the
    /// configuration.
    pub(super) fn of(diff: &ConfigDiff, components: Vec<String>, next: &Generation) -> Self {
        let names = |wanted: fn(&ProjectChange) -> bool| -> Vec<String> {
            let projects = diff.projects.iter().filter(|project| wanted(&project.change));
            projects.map(|project| project.name.clone()).collect()
        };
        let mut replanned = names(ProjectChange::replans);
        replanned.extend(components);
        replanned.retain(|name| next.projects.contains_key(name));
        let gone = names(|change| matches!(change, ProjectChange::Removed | ProjectChange::Disabled));
        let removed = diff.projects.iter().any(|project| project.change == ProjectChange::Removed);
        Self { replanned, gone, orphans: removed || diff.live.contains(&"engine.prune") }
    }

    /// Whether a removal of orphans that treats these projects as declared may continue.
    pub(super) fn allows_removal(&self, declared: &BTreeSet<String>) -> bool {
        self.replanned.iter().all(|name| declared.contains(name))
    }
}
