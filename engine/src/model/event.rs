//! Events of a run. The engine emits them; CLI, daemon and API render them.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Outcome, SkipReason};

/// A part of a run whose progress is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Repositories listed and compared.
    List,
    /// Files fetched.
    Fetch,
    /// Files chunked.
    Chunk,
    /// Texts embedded, from the cache or by the embedder.
    Embed,
    /// Vectors written.
    Upsert,
    /// Files recorded in the ledger.
    Commit,
}

/// The role of the stage that calls a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceKind {
    /// A source.
    Source,
    /// An embedder.
    Embedder,
    /// A store.
    Store,
    /// A notifier.
    Notifier,
}

/// An event of a run.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variants are documented, their fields are named after what they hold")]
pub enum Event {
    /// A project's run started.
    ProjectStarted { project: String },
    /// A repository was compared with the ledger: the number of files to process and to remove.
    RepositoryPlanned { project: String, repository: String, changes: u64, removals: u64 },
    /// The listing shows no change of a repository since its last complete sync, so it was not
    /// inspected.
    RepositoryUnchanged { project: String, repository: String },
    /// The total of a phase grew by `n`.
    Expected { phase: Phase, n: u64 },
    /// `n` items of a phase were completed.
    Done { phase: Phase, n: u64 },
    /// A file was indexed and recorded in the ledger.
    FileIndexed { project: String, repository: String, path: String, chunks: u64 },
    /// A file was removed from the index.
    FileRemoved { project: String, repository: String, path: String },
    /// A file was skipped.
    FileSkipped { project: String, repository: String, path: String, reason: SkipReason },
    /// A repository, file or text failed.
    Failed { project: String, repository: String, path: Option<String>, error: String },
    /// A stage waits before its next call to a service.
    Waiting { stage: String, seconds: f64, reason: String },
    /// A call to a service ended. `error`: the kind of the error if `ok` is false.
    Call {
        service: ServiceKind,
        stage: String,
        #[serde(skip_deserializing)]
        operation: &'static str,
        items: u64,
        tokens: u64,
        seconds: f64,
        ok: bool,
        #[serde(skip_deserializing)]
        error: Option<&'static str>,
    },
    /// Texts served by the vector cache.
    CacheHits { project: String, n: u64 },
    /// A notice for the user that is not an error.
    Note { project: String, message: String },
    /// A project's run ended.
    ProjectFinished { project: String, outcome: Outcome },
}

/// The destination of events. Cheap to clone, never blocks.
#[derive(Clone)]
pub struct EventSink(Arc<dyn Fn(Event) + Send + Sync>);

impl EventSink {
    /// A sink that calls `f`. Must be quick, since it is called from the run's own tasks.
    pub fn new(f: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(f))
    }

    /// A sink that discards events.
    pub fn none() -> Self {
        Self::new(|_| {})
    }

    /// Emits one event.
    pub fn emit(&self, event: Event) {
        (self.0)(event);
    }

    /// Emits that a stage waits.
    pub fn waiting(&self, stage: &str, wait: Duration, reason: &str) {
        self.emit(Event::Waiting {
            stage: stage.to_owned(),
            seconds: wait.as_secs_f64(),
            reason: reason.to_owned(),
        });
    }
}

impl std::fmt::Debug for EventSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EventSink")
    }
}
