//! Several daemons on one state. One of them holds the lease of the dispatcher: it keeps timers and starts runs. The others
//! answer the API: what they show comes from the dispatcher, and what they are asked for goes to it, through the state.

use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::sync::watch;

use super::fence::{Fence, Lease};
use super::queue::{Generation, unique_id};
use crate::model::StageResult;

/// What the daemons of a state have in common.
#[async_trait]
pub trait Daemons: fmt::Debug + Send + Sync {
    /// Records a daemon, or that it is still there. An error of kind `Outdated`: a newer program has changed the tables.
    async fn enter_daemon(&self, daemon: &Daemon) -> StageResult<()>;

    /// Deletes a daemon that ends.
    async fn leave_daemon(&self, daemon: &str) -> StageResult<()>;

    /// The daemons that were seen within the last minute, in the order in which they started.
    async fn list_daemons(&self) -> StageResult<Vec<DaemonRow>>;

    /// Takes the lease of the dispatcher; `None`: another daemon holds it.
    async fn lead(&self) -> StageResult<Option<Lease>>;

    /// Stores what the dispatcher shows.
    async fn show(&self, fence: Fence, daemon: &str, shown: &str) -> StageResult<()>;

    /// What the dispatcher, or the last one, has shown.
    async fn shown(&self) -> StageResult<Option<Shown>>;

    /// Stores a request for the dispatcher, and returns its number.
    async fn ask(&self, content: &str) -> StageResult<i64>;

    /// The requests that have no answer, oldest first.
    async fn asked(&self) -> StageResult<Vec<(i64, String)>>;

    /// Answers a request; without an answer it is deleted.
    async fn answer_request(&self, fence: Fence, id: i64, answer: Option<&str>) -> StageResult<()>;

    /// The answer to a request, which is kept for some minutes; `None`: there is none yet.
    async fn answer_to(&self, id: i64) -> StageResult<Option<String>>;

    /// Deletes a request that has no answer. False: it has one.
    async fn withdraw(&self, id: i64) -> StageResult<bool>;

    /// Adds events of runs, and deletes those of runs that are not `active` after a while.
    async fn put_events(
        &self,
        fence: Fence,
        events: Vec<(String, String)>,
        active: Vec<String>,
    ) -> StageResult<()>;

    /// Events of runs with a number above `after`, in their order.
    async fn events_after(&self, after: i64) -> StageResult<Vec<LiveEvents>>;

    /// Makes a generation the one that counts. Where a newer one was adopted before, only if `insist`.
    async fn adopt(&self, fence: Fence, generation: &Generation, insist: bool) -> StageResult<Standing>;

    /// Whether the generation with this digest is the one that counts, or could become it.
    async fn standing(&self, digest: &str) -> StageResult<Standing>;

    /// What workers said of a generation, by label: `Some`, why they cannot work with it.
    async fn answers_to_generation(&self, number: i64) -> StageResult<Vec<(String, Option<String>)>>;

    /// Changes whenever another daemon may have asked for something. Without notifications from the server it never
    /// does.
    fn requests(&self) -> watch::Receiver<u64>;

    /// Changes whenever the dispatcher may have shown or answered something, likewise.
    fn peers(&self) -> watch::Receiver<u64>;
}

/// A process that answers the API, and starts runs while it holds the lease of the dispatcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// Different for each start of a process.
    pub id: String,
    /// The name of its machine or pod.
    pub label: String,
}

impl Daemon {
    /// A daemon that begins now.
    pub fn new(label: String) -> Self {
        Self { id: unique_id(), label }
    }
}

/// A daemon as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct DaemonRow {
    /// Different for each start of a process.
    pub id: String,
    /// The name of its machine or pod.
    pub label: String,
    /// The version of the program.
    pub version: String,
    /// When it started (UTC).
    #[schema(value_type = String, format = DateTime)]
    pub since: DateTime<Utc>,
    /// When it was last seen (UTC).
    #[schema(value_type = String, format = DateTime)]
    pub seen: DateTime<Utc>,
    /// Whether it is the dispatcher.
    pub dispatcher: bool,
}

/// What a dispatcher has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The daemon's id.
    pub daemon: String,
    /// The content, as JSON.
    pub content: String,
    /// Whether it still holds the lease.
    pub is_led: bool,
}

/// Events of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveEvents {
    /// Counts the entries of all runs.
    pub id: i64,
    /// The run.
    pub run: String,
    /// The events, as JSON.
    pub events: String,
}

/// How a generation stands among those that daemons have adopted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It counts, with this number.
    Newest(i64),
    /// It was never adopted.
    New,
    /// It was adopted before, and then this newer one.
    Older(i64),
}
