//! What happened, as it happens. The engine emits; cli, daemon and api render.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{Outcome, SkipReason};

/// A part of the run that a progress view counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Repositories listed and compared.
    List,
    /// Files fetched.
    Fetch,
    /// Files chunked.
    Chunk,
    /// Texts that got their vector (from the cache or the embedder).
    Embed,
    /// Vectors written.
    Upsert,
    /// Files recorded in the ledger.
    Commit,
}

/// The service behind a stage, by the stage's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceKind {
    /// A source's.
    Source,
    /// An embedder's.
    Embedder,
    /// A store's.
    Store,
    /// A notifier's.
    Notifier,
}

/// One thing that happened in a run.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variants are documented, their fields are named after what they hold")]
pub enum Event {
    /// A project's run began.
    ProjectStarted { project: String },
    /// A repository was compared with the ledger; so many files are to be processed or removed.
    RepositoryPlanned { project: String, repository: String, changes: u64, removals: u64 },
    /// A repository's entry was as at its last finished sync: nothing asked.
    RepositoryUnchanged { project: String, repository: String },
    /// `n` more things are to be done in a phase.
    Expected { phase: Phase, n: u64 },
    /// `n` more things were done in a phase.
    Done { phase: Phase, n: u64 },
    /// A file is in the index, recorded.
    FileIndexed { project: String, repository: String, path: String, chunks: u64 },
    /// A file left the index.
    FileRemoved { project: String, repository: String, path: String },
    /// A file is not indexed.
    FileSkipped { project: String, repository: String, path: String, reason: SkipReason },
    /// A repository, file or text failed.
    Failed { project: String, repository: String, path: Option<String>, error: String },
    /// A stage waits for its service.
    Waiting { stage: String, seconds: f64, reason: String },
    /// A call to a service ended. `ok` false: with an error of type `error`.
    Call {
        service: ServiceKind,
        stage: String,
        operation: &'static str,
        items: u64,
        tokens: u64,
        seconds: f64,
        ok: bool,
        error: Option<&'static str>,
    },
    /// Texts served by the vector cache.
    CacheHits { project: String, n: u64 },
    /// Something a person should know that is no failure.
    Note { project: String, message: String },
    /// A project's run ended.
    ProjectFinished { project: String, outcome: Outcome },
}

/// Where events go. Cheap to clone, never blocks.
#[derive(Clone)]
pub struct EventSink(Arc<dyn Fn(Event) + Send + Sync>);

impl EventSink {
    /// A sink that calls `f`, which must be quick: it is called from the run's own tasks.
    pub fn new(f: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(f))
    }

    /// A sink that forgets.
    pub fn none() -> Self {
        Self::new(|_| {})
    }

    /// Emits one event.
    pub fn emit(&self, event: Event) {
        (self.0)(event);
    }

    /// Says that a stage waits.
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
