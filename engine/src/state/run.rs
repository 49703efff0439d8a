//! The history of runs.

use crate::model::Report;

/// A run that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun {
    /// Its id, unique in the ledger.
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

/// Which part of the history to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunQuery {
    /// At most this many runs.
    pub limit: usize,
    /// Only runs older than the run with this id: the next page. An id that the history does not hold
    /// gives no runs.
    pub before: Option<String>,
    /// Only runs in which this project took part.
    pub project: Option<String>,
}

impl RunQuery {
    /// The newest runs of all projects.
    pub fn newest(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }
}
