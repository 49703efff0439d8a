//! Admission of writing runs. Runs of this process share one lease on the state, held while any of them is
//! active, so that only one process writes at a time.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex as SyncMutex;
use tokio::sync::Mutex;

use crate::model::{Running, StageResult};
use crate::state::{Held, Lease, State};

/// Interval between attempts to take a lease that another process holds.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Hands out leases.
pub(super) struct Gate {
    state: Arc<dyn State>,
    /// One run at a time asks for a lease.
    asking: Mutex<()>,
    waiting: SyncMutex<Option<Running>>,
}

impl Gate {
    pub(super) fn new(state: Arc<dyn State>) -> Self {
        Self { state, asking: Mutex::default(), waiting: SyncMutex::default() }
    }

    /// Returns a lease on all projects. Waits while another process holds one. Cancel-safe.
    pub(super) async fn enter(&self) -> StageResult<Lease> {
        let _asking = self.asking.lock().await;
        let _clear = ClearWaiting(&self.waiting);
        loop {
            match self.state.lease(&[]).await? {
                Ok(lease) => return Ok(lease),
                Err(Held(holder)) => {
                    let mut waiting = self.waiting.lock();
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

    /// The process that holds the lease and that a run is waiting for, if any.
    pub(super) fn waiting_for(&self) -> Option<Running> {
        self.waiting.lock().clone()
    }
}

/// Clears `waiting` on drop, also when the waiting is cancelled.
struct ClearWaiting<'a>(&'a SyncMutex<Option<Running>>);

impl Drop for ClearWaiting<'_> {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::StatePlace;

    /// The states that two processes open on one ledger.
    async fn two_processes(folder: &Path) -> (Arc<dyn State>, Arc<dyn State>) {
        let place = StatePlace::File(folder.join("state.db"));
        let open = || crate::factory::open_for_service(&place);
        (open().await.expect("opened").0, open().await.expect("opened").0)
    }

    #[tokio::test]
    async fn runs_of_one_process_share_the_lock_and_the_last_gives_it_back() {
        let dir = tempfile::tempdir().expect("a folder");
        let (state, other) = two_processes(dir.path()).await;
        let gate = Gate::new(state);
        let first = gate.enter().await.expect("free");
        let second = gate.enter().await.expect("shared");
        drop(first);
        assert!(other.lease(&[]).await.expect("io").is_err());
        drop(second);
        assert!(other.lease(&[]).await.expect("io").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn another_holder_is_waited_for_and_named() {
        let dir = tempfile::tempdir().expect("a folder");
        let (state, other) = two_processes(dir.path()).await;
        let other = other.lease(&[]).await.expect("io").expect("free");
        let gate = Gate::new(state);
        let mut entering = Box::pin(gate.enter());
        while gate.waiting_for().is_none() {
            assert!(tokio::time::timeout(RETRY_INTERVAL, &mut entering).await.is_err(), "it is held");
        }
        drop(other);
        assert!(entering.await.is_ok());
        assert_eq!(gate.waiting_for(), None);
    }
}
