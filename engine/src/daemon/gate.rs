//! Admission of writing runs. Runs of this process share one file lock on the ledger, held while
//! any of them is active, so that only one process writes at a time.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Mutex;

use crate::model::{ErrorKind, Running, StageError, StageResult};
use crate::state::RunLock;

/// Interval between attempts to take a lock that another process holds.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Hands out the lock.
pub(super) struct Gate {
    state: PathBuf,
    held: Mutex<Weak<RunLock>>,
    waiting: SyncMutex<Option<Running>>,
}

impl Gate {
    pub(super) fn new(state: &Path) -> Self {
        Self { state: state.to_owned(), held: Mutex::default(), waiting: SyncMutex::default() }
    }

    /// Returns a share of the lock, taking it first if no run of this process holds it. Waits while
    /// another process holds it. Cancel-safe.
    pub(super) async fn enter(&self) -> StageResult<Arc<RunLock>> {
        let mut held = self.held.lock().await;
        if let Some(lock) = held.upgrade() {
            return Ok(lock);
        }
        let _clear = ClearWaiting(&self.waiting);
        loop {
            let state = self.state.clone();
            let taken =
                tokio::task::spawn_blocking(move || RunLock::try_take(&state)).await.map_err(|error| {
                    StageError::new("ledger", ErrorKind::Bug, "cannot lock").caused_by(error)
                })??;
            match taken {
                Ok(lock) => {
                    let lock = Arc::new(lock);
                    *held = Arc::downgrade(&lock);
                    return Ok(lock);
                }
                Err(holder) => {
                    let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                    if waiting.is_none() {
                        let process = holder.as_ref().map(|holder| holder.process);
                        tracing::warn!(
                            process,
                            "another process holds the ledger; waiting for its run to end"
                        );
                    }
                    *waiting = holder;
                }
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    /// The process that holds the lock and that a run is waiting for, if any.
    pub(super) fn waiting_for(&self) -> Option<Running> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Clears `waiting` on drop, also when the waiting is cancelled.
struct ClearWaiting<'a>(&'a SyncMutex<Option<Running>>);

impl Drop for ClearWaiting<'_> {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn runs_of_one_process_share_the_lock_and_the_last_gives_it_back() {
        let dir = tempfile::tempdir().expect("a folder");
        let state = dir.path().join("state.db");
        let gate = Gate::new(&state);
        let first = gate.enter().await.expect("free");
        let second = gate.enter().await.expect("shared");
        drop(first);
        assert!(RunLock::try_take(&state).expect("io").is_err());
        drop(second);
        assert!(RunLock::try_take(&state).expect("io").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn another_holder_is_waited_for_and_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let state = dir.path().join("state.db");
        let other = RunLock::take(&state).expect("free");
        let gate = Gate::new(&state);
        let mut entering = Box::pin(gate.enter());
        while gate.waiting_for().is_none() {
            assert!(tokio::time::timeout(RETRY_INTERVAL, &mut entering).await.is_err(), "it is held");
        }
        drop(other);
        assert!(entering.await.is_ok());
        assert_eq!(gate.waiting_for(), None);
    }
}
