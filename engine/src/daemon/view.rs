//! The snapshot of the dispatcher's state that readers get.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::generation::Generation;
use super::pending::Trigger;
use super::tokens::Tokens;
use crate::config::{self, Api, Problem};
use crate::model::{Outcome, mask_secrets};

/// The state of the daemon.
#[derive(Clone)]
pub struct View {
    pub(super) generation: Arc<Generation>,
    /// When the daemon started (UTC).
    pub since: DateTime<Utc>,
    /// Why the file on disk was refused; `None` if the running configuration is the one on disk.
    pub refused: Option<String>,
    /// What is wrong with the file on disk, if its content was refused.
    pub(super) problems: Vec<Problem>,
    /// The last reload since the start that was requested, changed something or was refused.
    pub last_reload: Option<LastReload>,
    /// Keys that differ in the file but take effect only after a restart.
    pub restart: Vec<&'static str>,
    /// True once the daemon accepts no more requests.
    pub stopping: bool,
    /// The enabled projects, by name.
    pub projects: BTreeMap<String, ProjectView>,
    /// Whether this daemon starts runs.
    pub role: Role,
    /// Runs that are queued or running, by id.
    pub(super) runs: BTreeMap<String, RunState>,
}

/// Whether a daemon starts runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It does; there can be no other daemon on the state.
    Alone,
    /// It does, as long as it holds the lease of the dispatcher.
    Dispatcher,
    /// Another one does, or could. This one answers the API, and waits for its turn.
    Standby,
}

/// The result of a reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct LastReload {
    /// When (UTC).
    #[schema(value_type = String, format = DateTime)]
    pub at: DateTime<Utc>,
    /// `applied`, `unchanged` or `refused`.
    #[schema(value_type = String)]
    pub outcome: &'static str,
    /// The result in one line.
    pub message: String,
}

/// The state of a project.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProjectView {
    /// Id of the running run.
    pub running: Option<String>,
    /// Id of the run that is queued behind it.
    pub queued: Option<String>,
    /// Outcome of the last run of this process.
    pub last_outcome: Option<Outcome>,
    /// Why the last run failed; `None` if it did not.
    pub last_error: Option<String>,
    /// When the last run of this process ended (UTC).
    pub finished_at: Option<DateTime<Utc>>,
    /// When the schedule starts the next run (UTC); `None` without a schedule.
    pub next_run: Option<DateTime<Utc>>,
    /// When the failed run is retried (UTC); `None` if the last run did not fail.
    pub retry_at: Option<DateTime<Utc>>,
}

/// A run that is queued or running.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunState {
    /// Its project.
    pub project: String,
    /// Id of the request that the run belongs to.
    pub request: String,
    /// What asked for it.
    pub trigger: Trigger,
    /// When it started (UTC); `None` while it is queued behind the project's current run.
    pub started_at: Option<DateTime<Utc>>,
}

impl View {
    /// True if the daemon needs attention: the file on disk was refused, or a project's last run
    /// failed.
    pub fn is_degraded(&self) -> bool {
        self.refused.is_some()
            || self.projects.values().any(|project| project.last_outcome == Some(Outcome::Failed))
    }

    /// `[api]` of the running generation.
    pub fn api(&self) -> &Api {
        &self.generation.config.api
    }

    /// The tokens, one of which API requests must carry.
    pub fn tokens(&self) -> &Tokens {
        &self.generation.tokens
    }

    /// What is wrong with the file on disk, if its content was refused.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The path of the file.
    pub fn file(&self) -> &Path {
        &self.generation.config.path
    }

    /// The running configuration as TOML, with defaults filled in and secrets masked.
    pub fn shown(&self) -> String {
        mask_secrets(&config::show(&self.generation.config)).into_owned()
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
