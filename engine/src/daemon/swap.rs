//! What a new generation changes for runs: which are cancelled, which are started.

use std::collections::BTreeSet;

use super::generation::Generation;
use crate::config::{ConfigDiff, ProjectChange};

/// The consequences of a swap, by project name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Swap {
    /// Their run is cancelled after the batch in hand, and they are planned again.
    pub(super) replanned: Vec<String>,
    /// Removed from the file or disabled: their run is cancelled, and none is started.
    pub(super) gone: Vec<String>,
    /// True where orphans may have come up, or the rule for them changed.
    pub(super) orphans: bool,
}

impl Swap {
    /// `components`: projects whose component was replaced, while the file did not change.
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

    /// Whether a removal of orphans that takes these projects for declared may go on.
    pub(super) fn allows_removal(&self, declared: &BTreeSet<String>) -> bool {
        self.replanned.iter().all(|name| declared.contains(name))
    }
}
