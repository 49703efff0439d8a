//! What the dispatcher shows to the other daemons of its state, and what its successor continues with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::pending::Pending;
use super::super::view::{ProjectView, RunState};

/// The state of the dispatcher.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in super::super) struct Shown {
    /// The enabled projects, by name.
    pub(in super::super) projects: BTreeMap<String, ProjectView>,
    /// Runs that are queued or running, by id.
    pub(in super::super) runs: BTreeMap<String, RunState>,
    /// What was asked for and is not done: running before queued.
    pub(in super::super) work: Vec<Work>,
    /// The newest aliases of run ids.
    pub(in super::super) aliases: Vec<(String, Vec<String>)>,
}

/// A run that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in super::super) struct Work {
    /// Its project.
    pub(in super::super) project: String,
    /// What was asked for.
    pub(in super::super) request: Pending,
    /// True if it is running.
    pub(in super::super) begun: bool,
}
