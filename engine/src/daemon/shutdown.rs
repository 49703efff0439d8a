//! SIGHUP, and how long an end may take. SIGTERM and SIGINT reach the daemon as the cancellation
//! of its token: it takes no new work, finishes the batches in hand and ends.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::handle::Handle;
use super::reload::Cause;
use crate::model::{StageError, StageResult};

/// So long a run may take to finish the batch in hand, on an edit or at the end. Kubernetes kills
/// after 30 s; what is left open then is closed by the next run.
pub(super) const GRACE: Duration = Duration::from_secs(10);

#[cfg(unix)]
pub(super) type Hangups = tokio::signal::unix::Signal;

/// Begins to listen for SIGHUP: from here on it does not end the process.
#[cfg(unix)]
pub(super) fn hangups() -> StageResult<Hangups> {
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())
        .map_err(|error| StageError::local("daemon", "cannot listen for SIGHUP").caused_by(error))
}

/// Takes up the file on every SIGHUP.
#[cfg(unix)]
pub(super) async fn forward_hangups(mut hangups: Hangups, handle: Handle, cancel: CancellationToken) {
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            hangup = hangups.recv() => {
                if hangup.is_none() {
                    return;
                }
                handle.request_reload(Cause::Signal).await;
            }
        }
    }
}

#[cfg(not(unix))]
pub(super) type Hangups = ();

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "fails on other systems")]
pub(super) fn hangups() -> StageResult<Hangups> {
    Ok(())
}

#[cfg(not(unix))]
pub(super) async fn forward_hangups(_: Hangups, _: Handle, _: CancellationToken) {}
