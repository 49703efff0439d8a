//! State: what the program believes is stored, file by file, chunk by chunk, and the vectors that it has paid
//! for. Nothing else says that a file is done, and it is written last.
//!
//! The traits have one call for each thing that a run or a reader needs. Each call is one transaction: all of
//! it, durably, or nothing. Calls do not block the executor. Implementations are tested by one suite, in
//! `conformance`.

mod audit;
#[cfg(test)]
mod conformance;
mod copy;
mod daemons;
mod fence;
mod file;
mod ids;
mod plans;
pub mod postgres;
mod project;
mod queue;
mod repository;
mod run;
mod sign_ins;
pub mod sqlite;
mod status;
mod usage;
mod vector_bytes;
mod vector_cache;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::model::{
    Allowances, DeclaredProject, Running, StageResult, StatusView, StoredAnswer, WorkerSettings,
};

pub use audit::{Audit, AuditEntry, AuditQuery, AuditRow};
pub use copy::{Copied, Copyable, Part, Row, Table, Tables, copy};
pub use daemons::{Daemon, DaemonRow, Daemons, LiveEvents, Shown, Standing};
pub(crate) use fence::STAGE;
pub use fence::{Fence, Held, Lease, Term};
pub use file::{BlobFile, Damaged, FileRow, FileStatus, Files, KnownFile, KnownFiles, StoredChunk};
pub use ids::{FileIds, FileKey, HeldIds, IdsOf, Leftover, PlacedIds};
pub use plans::{PLAN_LIFE, PlanContent, PlanDecision, PlanStatus, Plans, StoredPlan};
pub use project::{AdoptedRecord, Believed, ProjectEnd, ProjectRow, ProjectState, Projects, RecordedProject};
pub use queue::{
    ClaimedUnit, ComponentFile, FailedAttempt, Generation, NewUnit, Placed, PutBack, Queue, QueueCounts,
    UnitClaim, UnitNews, UnitQuery, UnitRow, UnitState, Worker, WorkerRow,
};
pub use repository::{
    Repositories, RepositoryRow, RepositorySync, SelectedRepository, UnchangedRepository, Uncounted,
};
pub use run::{History, NewRun, RunQuery, RunRow, RunStatus, TRIGGERS};
pub use sign_ins::{SignIn, SignInKind, SignIns};
pub use usage::{Measure, SumOver, USAGE_DAYS, Usage, UsageAmount, UsageQuery, bucket, day_of, quantile};
pub use vector_cache::{CacheKey, Claim, Claimant, VectorCache};

/// The state of all projects. The calls on projects, repositories, files, runs, stored plans, usage, the audit log and
/// sign-ins are in the traits above it.
#[async_trait]
pub trait State:
    Projects + Repositories + Files + History + Plans + Usage + Audit + SignIns + fmt::Debug + Send + Sync
{
    /// Takes a lease on these projects, which allows writing to them; an empty list means all projects, also
    /// those that are not declared. Does not wait: returns the holder if another one has a lease on any of them.
    async fn lease(&self, projects: &[String]) -> StageResult<Result<Lease, Held>>;

    /// A process that holds a lease now. It may end, and another may begin, at any time.
    async fn holder(&self) -> StageResult<Option<Running>>;

    /// The status of the declared projects, in their order, then of those that only the state knows.
    async fn status(&self, declared: &[DeclaredProject], now: DateTime<Utc>) -> StageResult<StatusView>;

    /// The stored answer of a service for a key; see `source::AnswerCache`.
    async fn answer(&self, key: &str) -> StageResult<Option<StoredAnswer>>;

    /// Replaces the stored answer for a key, and deletes answers that were not replaced for a month.
    async fn put_answer(
        &self,
        fence: Fence,
        key: &str,
        answer: &StoredAnswer,
        now: DateTime<Utc>,
    ) -> StageResult<()>;

    /// How long leases on projects and on the role of the dispatcher last from now on. Without effect where a lease ends
    /// with its process.
    fn set_leases(&self, _settings: WorkerSettings) {}

    /// The queue of units; `None` where only one process can work.
    fn queue(&self) -> Option<&dyn Queue> {
        None
    }

    /// What several daemons have in common; `None` where there can be only one.
    fn daemons(&self) -> Option<&dyn Daemons> {
        None
    }

    /// What services allow all processes together; `None` where only one process works, and for a user who may only read.
    fn allowances(&self) -> Option<Arc<dyn Allowances>> {
        None
    }

    /// An empty state in memory, for planning a project that this one does not know.
    fn scratch(&self) -> StageResult<Arc<dyn State>>;
}
