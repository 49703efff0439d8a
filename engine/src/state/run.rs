//! The history of runs.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::fence::Fence;
use crate::model::{Event, Outcome, Report, StageResult};

/// Maximum number of runs kept of one project, whatever their age: a project that runs on every push must not fill
/// the disk.
pub(super) const KEPT_RUNS: i64 = 1000;
/// Maximum number of events kept of one run: enough to see what went wrong, not a log.
pub(super) const KEPT_EVENTS: usize = 200;

/// The history of runs.
#[async_trait]
pub trait History {
    /// Records a run that begins, and deletes old runs: those older than `keep`, except for the newest of each
    /// project, and those beyond the newest 1,000 of this project.
    async fn start_run(
        &self,
        fence: Fence,
        run: &NewRun,
        keep: Duration,
        now: DateTime<Utc>,
    ) -> StageResult<()>;

    /// Records a run's end, with those of its events that report problems, and adds its amounts to the usage.
    async fn finish_run(
        &self,
        fence: Fence,
        report: &Report,
        events: Vec<(DateTime<Utc>, Event)>,
        now: DateTime<Utc>,
    ) -> StageResult<()>;

    /// A page of the history, newest run first. `None`: the history has no run with the id `query.before`.
    async fn runs(&self, query: &RunQuery) -> StageResult<Option<Vec<RunRow>>>;

    /// The runs that these ids refer to: each id is that of a run, or of a request and so of all its runs.
    async fn runs_of(&self, ids: Vec<String>) -> StageResult<Vec<RunRow>>;

    /// The run with this id, or the newest one whose id begins with it.
    async fn run_like(&self, prefix: &str) -> StageResult<Option<RunRow>>;
}

/// A run that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun {
    /// Its id, unique in the state.
    pub id: String,
    /// The id of the request that asked for it. A request over several projects has a run for each;
    /// for a request with a single run this is the run's own id.
    pub request: String,
    /// The project; `None`: several projects, or what the file does not declare any more.
    pub project: Option<String>,
    /// What started it.
    pub trigger: String,
}

/// One run.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct RunRow {
    /// Its id.
    pub id: String,
    /// See [`NewRun::request`].
    pub request: String,
    /// See [`NewRun::project`].
    pub project: Option<String>,
    /// What started it.
    pub trigger: String,
    /// When it started (UTC, RFC 3339).
    pub started_at: String,
    /// When it ended; `None`: it is still running, or was killed.
    pub finished_at: Option<String>,
    /// How it ended, as [`crate::model::Outcome`] is written.
    pub outcome: Option<String>,
    /// Its report.
    pub report: Option<Report>,
}

/// What starts runs: the values of [`RunRow::trigger`].
pub const TRIGGERS: [&str; 8] = ["start", "schedule", "push", "api", "edit", "retry", "plan", "apply"];

/// Which part of the history to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunQuery {
    /// At most this many runs.
    pub limit: usize,
    /// Only runs older than the run with this id: the next page.
    pub before: Option<String>,
    /// Only runs in which this project took part.
    pub project: Option<String>,
    /// Only runs that this started.
    pub trigger: Option<String>,
    /// Only runs that started at this moment or later.
    pub since: Option<DateTime<Utc>>,
    /// Only runs of this status.
    pub status: Option<RunStatus>,
    /// The ids of the runs that are under way, for `status`: another one that has no end was interrupted.
    pub active: Vec<String>,
}

/// How far a run is, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// It was asked for. The history has no such runs.
    Queued,
    /// It is under way.
    Running,
    /// It ended: everything declared is indexed.
    Done,
    /// It ended: something failed or was withheld.
    Partial,
    /// It ended before it was complete.
    Failed,
    /// It was stopped, or its process died.
    Interrupted,
}

impl RunStatus {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Running, Self::Done, Self::Partial, Self::Failed, Self::Interrupted];

    /// The word in addresses and in the history.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => Outcome::Done.as_str(),
            Self::Partial => Outcome::Partial.as_str(),
            Self::Failed => Outcome::Failed.as_str(),
            Self::Interrupted => Outcome::Interrupted.as_str(),
        }
    }
}

impl RunQuery {
    /// The newest runs of all projects.
    pub fn newest(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }
}
