//! Writes the audit log: entries are queued and written in their order, so that neither a request nor the
//! dispatcher waits for the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::state::{AuditEntry, State};

/// Maximum number of entries that wait to be written.
const WAITING: usize = 4096;
/// Maximum number of entries that are written in one transaction: more than clients can make while one is written.
const AT_ONCE: usize = 512;

/// An entry, and how long it is kept.
type Kept = (AuditEntry, Duration);

/// The end of the queue that entries are put into. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct AuditLog {
    sender: mpsc::Sender<Kept>,
    /// Entries that found no room since the last write.
    lost: Arc<AtomicU64>,
}

/// The other end.
pub(super) struct AuditQueue {
    receiver: mpsc::Receiver<Kept>,
    lost: Arc<AtomicU64>,
}

/// A queue of entries.
pub(super) fn queue() -> (AuditLog, AuditQueue) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let lost = Arc::default();
    (AuditLog { sender, lost: Arc::clone(&lost) }, AuditQueue { receiver, lost })
}

impl AuditLog {
    /// Queues an entry, which is kept for this long. One that finds no room is only in the daemon's log.
    pub(super) fn put(&self, entry: AuditEntry, keep: Duration) {
        if self.sender.try_send((entry, keep)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl AuditQueue {
    /// Writes entries until the daemon ends, and then those that wait.
    pub(super) async fn write(mut self, state: &dyn State, cancel: &CancellationToken) {
        let mut entries = Vec::new();
        while !cancel.is_cancelled() {
            tokio::select! {
                biased;
                received = self.receiver.recv_many(&mut entries, AT_ONCE) => if received == 0 { return },
                () = cancel.cancelled() => break,
            }
            self.record(state, &mut entries).await;
        }
        self.receiver.close();
        while self.receiver.recv_many(&mut entries, AT_ONCE).await > 0 {
            self.record(state, &mut entries).await;
        }
    }

    async fn record(&self, state: &dyn State, entries: &mut Vec<Kept>) {
        let keep = entries.last().map_or(Duration::ZERO, |(_, keep)| *keep);
        let entries: Vec<AuditEntry> = entries.drain(..).map(|(entry, _)| entry).collect();
        if let Err(error) = state.record_audit(&entries, keep).await {
            tracing::error!(error = %error.one_line(), entries = entries.len(), "audit entries were not kept");
        }
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::error!(entries = lost, "audit entries were not kept: too many waited to be written");
        }
    }
}
