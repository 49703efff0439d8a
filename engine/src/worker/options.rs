//! What a worker is started with.

use std::path::PathBuf;

use crate::config::{Need, StatePlace};
use crate::model::{ErrorKind, StageError, StageResult};
use crate::state::{Queue, State};

/// What a worker is started with.
#[derive(Clone)]
pub struct WorkerOptions {
    /// The state, which must have a queue.
    pub state: StatePlace,
    /// As `reposync queue` shows the worker.
    pub label: String,
    /// Units side by side, unless `[workers]` decides.
    pub units: Option<usize>,
    /// Where caches of this machine are.
    pub folder: PathBuf,
    /// How references in configurations are resolved.
    pub need: Need,
}

/// The queue of a state that has one.
pub(super) fn queue(state: &dyn State) -> StageResult<&dyn Queue> {
    state.queue().ok_or_else(|| {
        StageError::new(
            "worker",
            ErrorKind::Misconfigured,
            "the state is a file, on which only one process works",
        )
        .hint("name a PostgreSQL database: `--state postgres://USER@HOST/DATABASE`")
    })
}
