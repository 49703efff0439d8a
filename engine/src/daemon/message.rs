//! Messages to the dispatcher, and its replies.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio::sync::oneshot;

use super::pending::Pushed;
use crate::config::Problem;

/// A message to the dispatcher. Handling one never blocks.
pub(super) enum Message {
    /// Run these projects, or all enabled ones and the clean-up of orphans if `None`.
    Sync {
        projects: Option<Vec<String>>,
        full: bool,
        allow_deletes: bool,
        allow_cost: bool,
        answer: oneshot::Sender<Result<Accepted, Refusal>>,
    },
    /// Carry out a stored plan of a project, as the run with this id.
    Approved { project: String, plan: String, run: String, answer: oneshot::Sender<Result<(), Refusal>> },
    /// Cancel these runs, as far as they are queued or running. The answer is whether any was.
    Cancel { runs: Vec<String>, answer: oneshot::Sender<bool> },
    /// A repository changed: run the projects that may index it.
    Changed { projects: Vec<String>, pushed: BTreeMap<String, Pushed> },
    /// Reload the file.
    Reload { cause: Cause, answer: Option<oneshot::Sender<ReloadOutcome>> },
}

/// A request that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Accepted {
    /// Id of the run. For a request that covers several projects, an alias of all their
    /// runs.
    pub run: String,
    /// Id of the run by project.
    pub runs: BTreeMap<String, String>,
}

/// Why a request was rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no project of this name.
    NoProject(String),
    /// The project is disabled.
    Disabled(String),
    /// The daemon is shutting down.
    Stopping,
}

/// Why the file is reloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The daemon started: the file may have been saved since it was read.
    Start,
    /// The file or a component was saved.
    Files,
    /// SIGHUP.
    Signal,
    /// `POST /reload`, which `reposync reload` sends.
    Api,
    /// Retry of a refused file: the cause (such as a missing component) may be fixed by now in a
    /// folder that is not watched.
    Retry,
}

impl Cause {
    /// True if somebody requested the reload and expects to see its result.
    pub(super) fn is_asked_for(self) -> bool {
        !matches!(self, Self::Start | Self::Retry)
    }
}

/// The result of a reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReloadOutcome {
    /// `applied`, `unchanged` or `refused`.
    pub outcome: &'static str,
    /// The result in one line.
    pub message: String,
    /// The problems of the file; empty if it was not refused for its content.
    pub problems: Vec<Problem>,
    /// Keys that take effect only after a restart.
    pub restart: Vec<&'static str>,
}
