//! How current each project is: the one value that `status`, the API and `/health` show.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{GitSha, Outcome};

/// What the ledger knows of every project.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatusView {
    /// When it was read (UTC).
    pub at: DateTime<Utc>,
    /// The projects, in the order of the file.
    pub projects: Vec<ProjectStatus>,
    /// The run in progress: process and start, where there is one.
    pub running: Option<Running>,
    /// Places that no stage of the file reaches any more.
    pub orphan_places: Vec<OrphanPlace>,
    /// What the daemon says of the file on disk, where it refuses it.
    pub refused_config: Option<String>,
}

/// A run in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The process.
    pub process: u32,
    /// Since when (UTC).
    pub since: DateTime<Utc>,
}

/// A place that no stage of the file reaches any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OrphanPlace {
    /// The place as people read it.
    pub place: String,
    /// Vectors believed to be there.
    pub vectors: u64,
    /// What to put back to clean it.
    pub remedy: String,
}

/// One project.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProjectStatus {
    /// Its name.
    pub project: String,
    /// False for a disabled project.
    pub enabled: bool,
    /// False for one that is in the ledger, but not in the file any more.
    pub declared: bool,
    /// Where its vectors live.
    pub place: String,
    /// Files indexed.
    pub files: u64,
    /// Vectors stored.
    pub vectors: u64,
    /// Files that failed and are tried again by the next run.
    pub failed_files: u64,
    /// Intents that an interrupted run left open; the next run closes them.
    pub open_intents: u64,
    /// Its last run.
    pub last_run: Option<LastRun>,
    /// When the schedule starts the next run (UTC), where a daemon runs.
    pub next_run: Option<DateTime<Utc>>,
    /// Its repositories, by name.
    pub repositories: Vec<RepositoryStatus>,
}

/// The last run of a project.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LastRun {
    /// The run's id.
    pub run: String,
    /// When it ended (UTC).
    pub finished_at: DateTime<Utc>,
    /// How it ended.
    pub outcome: Outcome,
    /// Its error, or the first failure.
    pub error: Option<String>,
}

/// One repository of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RepositoryStatus {
    /// Its name.
    pub repository: String,
    /// The commit that is indexed whole; none before the first.
    pub indexed: Option<GitSha>,
    /// The head as last seen; differs from `indexed` after a run that did not finish it.
    pub head: Option<GitSha>,
    /// When `indexed` was reached (UTC).
    pub synced_at: Option<DateTime<Utc>>,
    /// Files indexed.
    pub files: u64,
    /// Vectors stored.
    pub vectors: u64,
    /// Since when it is gone from the source (UTC), where it is.
    pub orphan_since: Option<DateTime<Utc>>,
}
