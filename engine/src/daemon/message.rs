//! Messages to the dispatcher, and its replies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::pending::Pushed;
use crate::config::Problem;

/// A message to the dispatcher. Handling one never blocks.
pub(super) enum Message {
    /// Answer a request, or pass it on to the daemon that does.
    Request { request: Request, answer: oneshot::Sender<Answer> },
    /// Reload the file.
    Reload { cause: Cause, answer: Option<oneshot::Sender<ReloadOutcome>> },
}

/// What a dispatcher is asked for, by the API of its own daemon or of another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Request {
    /// Run these projects, or all enabled ones and the clean-up of orphans if `None`.
    Sync { projects: Option<Vec<String>>, full: bool, allow_deletes: bool, allow_cost: bool },
    /// Carry out a stored plan of a project, as the run with this id.
    Approved { project: String, plan: String, run: String },
    /// Cancel these runs, as far as they are queued or running.
    Cancel { runs: Vec<String> },
    /// A repository changed: run the projects that may index it.
    Changed { projects: Vec<String>, pushed: BTreeMap<String, Pushed> },
    /// Reload the file.
    Reload,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    /// These runs are queued or running.
    Accepted(Accepted),
    /// It was rejected.
    Refused(Refusal),
    /// Whether any run was cancelled.
    Cancelled(bool),
    /// The file was reloaded or refused, with the result in one line.
    Reloaded { refused: bool, message: String },
    /// It is queued, and will not be lost.
    Done,
}

/// A request that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Id of the run. For a request that covers several projects, an alias of all their
    /// runs.
    pub run: String,
    /// Id of the run by project.
    pub runs: BTreeMap<String, String>,
}

/// Why a request was rejected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// There is no project of this name.
    NoProject(String),
    /// The project is disabled.
    Disabled(String),
    /// The daemon is shutting down.
    Stopping,
    /// Another daemon starts runs, and does not answer.
    NoDispatcher,
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
