//! Writes the audit log: entries are queued and written in their order, so that neither a request nor the
//! dispatcher waits for the disk.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::state::{AuditEntry, State};

/// Maximum number of entries that wait to be written.
const WAITING: usize = 4096;

/// The end of the queue that entries are put into. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct AuditLog(mpsc::Sender<(AuditEntry, Duration)>);

/// The other end.
pub(super) struct AuditQueue(mpsc::Receiver<(AuditEntry, Duration)>);

/// A queue of entries.
pub(super) fn queue() -> (AuditLog, AuditQueue) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (AuditLog(sender), AuditQueue(receiver))
}

impl AuditLog {
    /// Queues an entry, which is kept for this long. One that finds no room is only in the daemon's log.
    pub(super) fn put(&self, entry: AuditEntry, keep: Duration) {
        if self.0.try_send((entry, keep)).is_err() {
            tracing::error!("an audit entry was not kept: too many wait to be written, or the daemon ends");
        }
    }
}

impl AuditQueue {
    /// Writes entries until the daemon ends, and then those that wait.
    pub(super) async fn write(mut self, state: &dyn State, cancel: &CancellationToken) {
        while let Some((entry, keep)) = tokio::select! {
            biased;
            entry = self.0.recv() => entry,
            () = cancel.cancelled() => None,
        } {
            record(state, &entry, keep).await;
        }
        self.0.close();
        while let Some((entry, keep)) = self.0.recv().await {
            record(state, &entry, keep).await;
        }
    }
}

async fn record(state: &dyn State, entry: &AuditEntry, keep: Duration) {
    if let Err(error) = state.record_audit(entry, keep).await {
        tracing::error!(error = %error.one_line(), who = entry.who, what = entry.what, "an audit entry was not kept");
    }
}
