//! State that the daemon's tasks share, and the events that it reports to its observer.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::alias::Aliases;
use super::audit::AuditLog;
use super::feed::Feeds;
use super::gate::Gate;
use super::lag::LagTracker;
use crate::app::Waits;
use crate::config::Need;
use crate::model::{Event, Report};
use crate::state::{Daemon, State};

/// What the daemon reports for metrics.
#[derive(Debug)]
pub enum Observed<'a> {
    /// An event of a run, or of a stage that runs share.
    Event(&'a Event),
    /// A run ended, with the number of its failures that components caused, by stage.
    Run(&'a Report, BTreeMap<String, u64>),
    /// The outcome of a reload.
    Reload(&'static str),
}

/// Receives the daemon's events. Called from its tasks, so it must not block.
pub type Observer = Arc<dyn Fn(&Observed<'_>) + Send + Sync>;

pub(super) struct Shared {
    pub(super) need: Need,
    /// The clock for schedules; tests replace it.
    pub(super) now: fn() -> DateTime<Utc>,
    /// What is recorded of all projects.
    pub(super) state: Arc<dyn State>,
    /// The same for reading, which never waits for a run's transaction.
    pub(super) reader: Arc<dyn State>,
    pub(super) gate: Gate,
    pub(super) feeds: Feeds,
    /// What running projects wait for.
    pub(super) waits: Waits,
    pub(super) observer: Observer,
    /// Notified when a project may have fallen behind the heads last seen.
    pub(super) lagging: LagTracker,
    /// Aliases of run ids that callers have.
    pub(super) aliases: Aliases,
    /// Where entries of the audit log are put.
    pub(super) audit: AuditLog,
    /// This daemon, as others see it.
    pub(super) me: Daemon,
    /// Cancelled when the daemon shuts down.
    pub(super) cancel: CancellationToken,
}
