//! The snapshot that readers take of the dispatcher's state.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::generation::Generation;
use super::pending::Trigger;
use super::token::ApiToken;
use crate::config::Api;
use crate::model::Outcome;

/// How the daemon stands.
#[derive(Clone)]
pub struct View {
    pub(super) generation: Arc<Generation>,
    /// When the daemon started (UTC).
    pub since: DateTime<Utc>,
    /// Why the file on disk is refused, where it is.
    pub refused: Option<String>,
    /// The last reload that somebody asked for or that changed something, since the start.
    pub last_reload: Option<LastReload>,
    /// Keys of the file that only a restart takes up.
    pub restart: Vec<&'static str>,
    /// True once the daemon takes no more work.
    pub stopping: bool,
    /// The enabled projects, by name.
    pub projects: BTreeMap<String, ProjectView>,
    /// Runs that are under way or to come, with the runs they are part of.
    pub(super) runs: BTreeMap<String, RunState>,
}

/// What came of a reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastReload {
    /// When (UTC).
    pub at: DateTime<Utc>,
    /// `applied`, `unchanged` or `refused`.
    pub outcome: &'static str,
    /// In one line.
    pub message: String,
}

/// How a project stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ProjectView {
    /// The run under way.
    pub running: Option<String>,
    /// The run that waits for it.
    pub queued: Option<String>,
    /// How the last run of this process ended.
    pub last_outcome: Option<Outcome>,
    /// Why it ended early, where it did.
    pub last_error: Option<String>,
    /// When the last run of this process ended (UTC).
    pub finished_at: Option<DateTime<Utc>>,
    /// When the schedule starts the next run (UTC).
    pub next_run: Option<DateTime<Utc>>,
    /// When a run that ended early is tried again (UTC).
    pub retry_at: Option<DateTime<Utc>>,
}

/// A run that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunState {
    /// Its project.
    pub project: String,
    /// The request that it is part of.
    pub request: String,
    /// What asked for it.
    pub trigger: Trigger,
    /// When it began (UTC); none: it waits for the project's run before it.
    pub started_at: Option<DateTime<Utc>>,
}

impl View {
    /// True where somebody should look: the file on disk is refused, or a project's last run ended
    /// early.
    pub fn is_degraded(&self) -> bool {
        self.refused.is_some()
            || self.projects.values().any(|project| project.last_outcome == Some(Outcome::Failed))
    }

    /// `[api]` as it is in force.
    pub fn api(&self) -> &Api {
        &self.generation.config.api
    }

    /// What requests of the API carry.
    pub fn token(&self) -> &ApiToken {
        &self.generation.token
    }

    /// The generation's number, from 1.
    pub fn generation(&self) -> u64 {
        self.generation.number
    }

    /// The names of all stages in use.
    pub fn stages(&self) -> Vec<String> {
        self.generation.config.stages.iter().map(|stage| stage.name.clone()).collect()
    }
}
