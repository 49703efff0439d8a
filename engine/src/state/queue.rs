//! The queue of units, which lets several processes work on one run. A unit is one repository of one project in one
//! run. The run's process puts units and takes their results; workers claim them, each under a lease.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::fence::{Fence, Lease};
use crate::model::{StageResult, WorkerSettings};

/// Units, the processes that work on them, and the configurations that they need for it.
#[async_trait]
pub trait Queue: fmt::Debug + Send + Sync {
    /// Records a worker, or that it is still there.
    async fn enter(&self, worker: &Worker) -> StageResult<()>;

    /// Deletes a worker that ends.
    async fn leave(&self, worker: &str) -> StageResult<()>;

    /// The workers that were seen within the last minute, in the order in which they started.
    async fn workers(&self) -> StageResult<Vec<WorkerRow>>;

    /// Stores a generation, unless one with the same digest is stored; returns its number.
    async fn put_generation(&self, generation: &Generation) -> StageResult<i64>;

    /// The number of the newest generation.
    async fn newest_generation(&self) -> StageResult<Option<i64>>;

    /// A generation by its number.
    async fn generation(&self, number: i64) -> StageResult<Option<Generation>>;

    /// A component by its digest.
    async fn component(&self, digest: &str) -> StageResult<Option<Vec<u8>>>;

    /// Records whether a worker can work with a generation; `refused`: why not.
    async fn answer_generation(&self, number: i64, worker: &str, refused: Option<String>) -> StageResult<()>;

    /// Puts a unit into the queue of a run. A dead unit of the repository is replaced, unless it was made for the same
    /// work: then it is returned, and nothing is put.
    async fn put(&self, fence: Fence, unit: NewUnit) -> StageResult<Placed>;

    /// The progress of the units of a project's run, and the results of those that ended.
    async fn of_run(&self, run: &str, project: &str) -> StageResult<Vec<UnitNews>>;

    /// Deletes the units of these projects (all if empty), except for dead ones. Whoever works on one is fenced. For
    /// units that an earlier run of a process that died has left, and at the end of a run.
    async fn clear(&self, fence: Fence, projects: &[String]) -> StageResult<()>;

    /// Deletes the ended units of a run whose results were taken.
    async fn forget(&self, fence: Fence, units: Vec<i64>) -> StageResult<()>;

    /// Claims units, those of projects with the fewest running ones first. Units of workers that died are
    /// claimed again, until their attempts are used up and they are dead.
    async fn claim(&self, claim: &UnitClaim) -> StageResult<Vec<ClaimedUnit>>;

    /// Records the progress of a unit as JSON. Nothing happens if it was taken over.
    async fn report(&self, fence: Fence, progress: &str) -> StageResult<()>;

    /// Ends a unit with its result as JSON.
    async fn finish(&self, fence: Fence, result: &str) -> StageResult<()>;

    /// Puts a unit back that was not finished.
    async fn put_back(&self, fence: Fence, why: PutBack) -> StageResult<()>;

    /// Units, newest first.
    async fn list(&self, query: &UnitQuery) -> StageResult<Vec<UnitRow>>;

    /// A unit by its number.
    async fn unit(&self, id: i64) -> StageResult<Option<UnitRow>>;

    /// Takes a unit out of the list of dead ones. `retry`: the next run of its project does the work again; otherwise
    /// that is done only once the repository or the configuration has changed. False: there is no such dead unit.
    async fn settle(&self, id: i64, retry: bool) -> StageResult<bool>;

    /// How many units there are by state.
    async fn counts(&self) -> StageResult<QueueCounts>;

    /// The time by which units are stamped, which is not that of this machine's clock.
    async fn clock(&self) -> StageResult<DateTime<Utc>>;

    /// Changes whenever units may have become ready. Without notifications from the server it never does.
    fn ready(&self) -> watch::Receiver<u64>;

    /// Changes whenever a daemon may have adopted a generation.
    fn adoptions(&self) -> watch::Receiver<u64>;

    /// Changes whenever units may have ended or gone on.
    fn news(&self) -> watch::Receiver<u64>;
}

/// A process that works on units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Different for each start of a process.
    pub id: String,
    /// As `reposync queue` shows it.
    pub label: String,
    /// The version of the program.
    pub version: String,
    /// How many units it works on at once.
    pub units: usize,
}

impl Worker {
    /// A worker that begins now.
    pub fn new(label: String, units: usize) -> Self {
        Self { id: unique_id(), label, version: env!("CARGO_PKG_VERSION").to_owned(), units }
    }
}

/// A random id, such as that of a process, which differs for each start.
pub(super) fn unique_id() -> String {
    let random = || getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
    format!("{:016x}{:016x}", random(), random())
}

/// A worker as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct WorkerRow {
    /// Different for each start of a process.
    pub id: String,
    /// As it calls itself.
    pub label: String,
    /// The version of the program.
    pub version: String,
    /// When it started (UTC).
    #[schema(value_type = String, format = DateTime)]
    pub since: DateTime<Utc>,
    /// When it was last seen (UTC).
    #[schema(value_type = String, format = DateTime)]
    pub seen: DateTime<Utc>,
    /// How many units it works on at once.
    pub capacity: u32,
    /// How many it works on now.
    pub running: u32,
    /// Why it cannot work with the newest configuration.
    pub refused: Option<String>,
}

/// A configuration, as workers get it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Of everything below.
    pub digest: String,
    /// The version of the program that wrote it; workers of another version leave it alone.
    pub version: String,
    /// The text of the file, with its references unresolved.
    pub text: String,
    /// The projects whose units workers can take.
    pub projects: Vec<String>,
    /// The components of its stages.
    pub components: Vec<ComponentFile>,
}

/// The component of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentFile {
    /// The stage that it is for.
    pub stage: String,
    /// SHA-256 in hexadecimal digits.
    pub digest: String,
    /// Its content is stored; otherwise it is fetched from its address.
    pub is_file: bool,
    /// Its content; empty when a generation is read.
    #[serde(skip)]
    pub bytes: Vec<u8>,
}

/// A unit to be put into the queue.
#[derive(Debug, Clone)]
pub struct NewUnit {
    /// The run.
    pub run: String,
    /// The project.
    pub project: String,
    /// The repository.
    pub repository: String,
    /// The generation of the configuration to work with.
    pub generation: i64,
    /// Distinguishes the work from other work on the repository, such as its commit.
    pub digest: String,
    /// The work, as JSON.
    pub task: String,
}

/// What became of a unit that was put into the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// It has this number.
    Queued(i64),
    /// The same work was given up before: this dead unit.
    Dead(UnitRow),
}

/// What workers claim.
#[derive(Debug, Clone)]
pub struct UnitClaim {
    /// The worker.
    pub worker: Worker,
    /// The most units.
    pub units: usize,
    /// Only those of this run and project; `None`: all that the worker can work with.
    pub of: Option<(String, String)>,
    /// Attempts at a unit before it is dead.
    pub attempts: u32,
    /// The time after which a lease ends that is not renewed.
    pub lease: Duration,
    /// How often leases are renewed.
    pub renew: Duration,
    /// The time between the end of a lease and its takeover, and before its end in which its holder changes nothing.
    pub grace: Duration,
    /// The time without progress after which a lease is not renewed.
    pub stuck: Duration,
}

impl UnitClaim {
    /// Claims of a worker.
    pub fn new(worker: Worker, settings: WorkerSettings) -> Self {
        let WorkerSettings { lease, renew, grace, attempts, stuck, .. } = settings;
        Self { units: worker.units, worker, of: None, attempts, lease, renew, grace, stuck }
    }
}

/// A unit to be worked on.
#[derive(Debug, Clone)]
pub struct ClaimedUnit {
    /// Its number.
    pub id: i64,
    /// The run.
    pub run: String,
    /// The project.
    pub project: String,
    /// The repository.
    pub repository: String,
    /// The generation of the configuration to work with.
    pub generation: i64,
    /// The work, as JSON.
    pub task: String,
    /// Allows writing what belongs to the unit.
    pub lease: Lease,
}

/// Why a unit goes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutBack {
    /// The worker ends; the attempt does not count.
    Unfinished,
    /// It failed, and may succeed later. Without attempts left it is dead.
    Failed {
        /// The error.
        reason: String,
        /// When it may be claimed again; `None`: after a pause that grows with its attempts.
        after: Option<Duration>,
        /// The number of attempts before it is dead.
        attempts: u32,
    },
}

/// How a unit of a run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitNews {
    /// Its number.
    pub id: i64,
    /// Its state.
    pub state: UnitState,
    /// Its progress as JSON.
    pub progress: Option<String>,
    /// Its result as JSON, once it is done.
    pub result: Option<String>,
    /// Why it is dead.
    pub reason: Option<String>,
}

/// The state of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnitState {
    /// It waits for a worker.
    Ready,
    /// A worker works on it.
    Running,
    /// Its result waits for its run.
    Done,
    /// Its attempts are used up.
    Dead,
    /// It was dead, and an operator took it out of the list.
    Dropped,
}

impl UnitState {
    /// All states, in the order of a unit's life.
    pub const ALL: [Self; 5] = [Self::Ready, Self::Running, Self::Done, Self::Dead, Self::Dropped];

    /// The word in the state and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Dropped => "dropped",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// Which units are listed.
#[derive(Debug, Clone, Default)]
pub struct UnitQuery {
    /// Only units in this state.
    pub state: Option<UnitState>,
    /// Only units of this project.
    pub project: Option<String>,
    /// Only units of this run.
    pub run: Option<String>,
    /// Only units with a lower number.
    pub before: Option<i64>,
    /// Maximum number of units.
    pub limit: usize,
}

impl UnitQuery {
    /// True if a unit is one of those, apart from the limit.
    pub fn includes(&self, unit: &UnitRow) -> bool {
        self.state.is_none_or(|state| state == unit.state)
            && self.project.as_ref().is_none_or(|project| *project == unit.project)
            && self.run.as_ref().is_none_or(|run| *run == unit.run)
            && self.before.is_none_or(|before| unit.id < before)
    }
}

/// A unit as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct UnitRow {
    /// Its number.
    pub id: i64,
    /// The run.
    pub run: String,
    /// The project.
    pub project: String,
    /// The repository.
    pub repository: String,
    /// Its state.
    pub state: UnitState,
    /// How often it was begun.
    pub attempts: u32,
    /// When it was put into the queue (UTC).
    #[schema(value_type = String, format = DateTime)]
    pub created_at: DateTime<Utc>,
    /// When it came into its state (UTC).
    #[schema(value_type = String, format = DateTime)]
    pub changed_at: DateTime<Utc>,
    /// Not before this time it is begun (UTC).
    #[schema(value_type = String, format = DateTime)]
    pub not_before: DateTime<Utc>,
    /// The worker that works on it, or worked on it last.
    pub worker: Option<String>,
    /// Why the last attempt failed.
    pub reason: Option<String>,
    /// All failed attempts, oldest first.
    pub history: Vec<FailedAttempt>,
}

/// A failed attempt at a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FailedAttempt {
    /// When it ended (UTC).
    #[schema(value_type = String, format = DateTime)]
    pub at: DateTime<Utc>,
    /// The worker.
    pub worker: String,
    /// Why it failed.
    pub reason: String,
}

/// How many units there are by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct QueueCounts {
    /// Units that wait for a worker.
    pub ready: u64,
    /// Units that are worked on.
    pub running: u64,
    /// Units whose results wait for their runs.
    pub done: u64,
    /// Dead units.
    pub dead: u64,
    /// Dead units that an operator took out of the list.
    pub dropped: u64,
    /// Age of the oldest unit that could have been begun, in seconds.
    pub oldest_ready_seconds: u64,
    /// Leases that were taken over since the state exists.
    pub fenced: u64,
    /// Time since the renewal of the lease that was not renewed for longest, in seconds; 0 without leases.
    pub oldest_renewal_seconds: u64,
}

impl QueueCounts {
    /// Counts some units; nothing is said of leases.
    pub fn of<'a>(units: impl IntoIterator<Item = &'a UnitRow>, now: DateTime<Utc>) -> Self {
        let mut counts = Self::default();
        for unit in units {
            let own = match unit.state {
                UnitState::Ready => &mut counts.ready,
                UnitState::Running => &mut counts.running,
                UnitState::Done => &mut counts.done,
                UnitState::Dead => &mut counts.dead,
                UnitState::Dropped => &mut counts.dropped,
            };
            *own += 1;
            if unit.state == UnitState::Ready {
                let age = (now - unit.created_at.max(unit.not_before)).num_seconds();
                counts.oldest_ready_seconds =
                    counts.oldest_ready_seconds.max(u64::try_from(age).unwrap_or(0));
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn unit(id: i64, state: UnitState, waited: i64) -> UnitRow {
        let at = DateTime::UNIX_EPOCH - TimeDelta::seconds(waited);
        UnitRow {
            id,
            run: "run".into(),
            project: if id % 2 == 0 { "even" } else { "odd" }.into(),
            repository: "repository".into(),
            state,
            attempts: 0,
            created_at: DateTime::UNIX_EPOCH - TimeDelta::hours(1),
            changed_at: at,
            not_before: at,
            worker: None,
            reason: None,
            history: Vec::new(),
        }
    }

    #[test]
    fn units_are_counted_by_state_and_the_oldest_that_may_begin_has_an_age() {
        let units = [
            unit(1, UnitState::Ready, 20),
            unit(2, UnitState::Ready, 90),
            // It is tried again in the future.
            unit(3, UnitState::Ready, -500),
            unit(4, UnitState::Running, 3000),
            unit(5, UnitState::Dead, 3000),
            unit(6, UnitState::Dropped, 3000),
            unit(7, UnitState::Done, 3000),
        ];
        let counts = QueueCounts::of(&units, DateTime::UNIX_EPOCH);
        let expected = QueueCounts {
            ready: 3,
            running: 1,
            done: 1,
            dead: 1,
            dropped: 1,
            oldest_ready_seconds: 90,
            ..QueueCounts::default()
        };
        assert_eq!(counts, expected);
        let shown = |query: UnitQuery| {
            units.iter().filter(|unit| query.includes(unit)).map(|unit| unit.id).collect::<Vec<_>>()
        };
        assert_eq!(shown(UnitQuery { state: Some(UnitState::Ready), ..UnitQuery::default() }), [1, 2, 3]);
        let even = UnitQuery { project: Some("even".into()), before: Some(6), ..UnitQuery::default() };
        assert_eq!(shown(even), [2, 4]);
    }
}
