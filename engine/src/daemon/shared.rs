//! What the daemon's tasks share, and what it reports to its observer.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::alias::Aliases;
use super::feed::Feeds;
use super::gate::Gate;
use super::lag::LagTracker;
use crate::config::Need;
use crate::ledger::Ledger;
use crate::model::{Event, Report};

/// What the daemon tells of itself, for metrics.
#[derive(Debug)]
pub enum Observed<'a> {
    /// Something happened in a run, or in a stage that runs share.
    Event(&'a Event),
    /// A run ended; so many of the failures it tells are of components, by stage.
    Run(&'a Report, BTreeMap<String, u64>),
    /// A reload came to this outcome.
    Reload(&'static str),
}

/// Takes what the daemon tells of itself. Called from its tasks: it must be quick.
pub type Observer = Arc<dyn Fn(&Observed<'_>) + Send + Sync>;

/// What the daemon's tasks share.
pub(super) struct Shared {
    pub(super) need: Need,
    /// The clock that schedules go by.
    pub(super) now: fn() -> DateTime<Utc>,
    /// For runs.
    pub(super) ledger: Arc<Ledger>,
    /// For questions, which never wait for a run's transaction.
    pub(super) reader: Arc<Ledger>,
    pub(super) gate: Gate,
    pub(super) feeds: Feeds,
    pub(super) observer: Observer,
    /// Told when a project may have fallen behind the heads that were seen.
    pub(super) lagging: LagTracker,
    /// Ids that were given out for runs that are known by other ids.
    pub(super) aliases: Aliases,
    /// The end of the daemon.
    pub(super) cancel: CancellationToken,
}
