//! Messages to the dispatcher, and what it replies.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio::sync::oneshot;

use super::pending::Pushed;
use crate::config::Problem;

/// A message to the dispatcher. All of them are quick to handle.
pub(super) enum Message {
    /// Run these projects (none: all enabled ones).
    Sync {
        project: Option<String>,
        full: bool,
        allow_deletes: bool,
        allow_cost: bool,
        answer: oneshot::Sender<Result<Accepted, Refusal>>,
    },
    /// A repository changed: run the projects that may have it.
    Changed { projects: Vec<String>, pushed: BTreeMap<String, Pushed> },
    /// Take up the file.
    Reload { cause: Cause, answer: Option<oneshot::Sender<ReloadOutcome>> },
}

/// A request that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Accepted {
    /// The run's id; over several projects, the id that stands for all their runs.
    pub run: String,
    /// The run of each project.
    pub runs: BTreeMap<String, String>,
}

/// Why a request was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no project of this name.
    NoProject(String),
    /// The project is disabled.
    Disabled(String),
    /// The daemon is about to end.
    Stopping,
}

/// Why the file is read again.
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
    /// What was refused may have been mended where nobody watches.
    Retry,
}

impl Cause {
    /// True where somebody did something and wants to see what came of it.
    pub(super) fn is_asked_for(self) -> bool {
        !matches!(self, Self::Start | Self::Retry)
    }
}

/// What came of a reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReloadOutcome {
    /// `applied`, `unchanged` or `refused`.
    pub outcome: &'static str,
    /// In one line.
    pub message: String,
    /// What is wrong with the file, where it was refused for that.
    pub problems: Vec<Problem>,
    /// Keys that only a restart takes up.
    pub restart: Vec<&'static str>,
}
