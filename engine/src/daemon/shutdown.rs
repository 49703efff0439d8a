//! SIGHUP handling. SIGTERM and SIGINT are not handled here: they cancel the daemon's token, on
//! which it accepts no new work, finishes the current batches and ends.

use tokio_util::sync::CancellationToken;

use super::handle::Handle;
use super::message::Cause;
use crate::model::{StageError, StageResult};

#[cfg(unix)]
pub(super) type Hangups = tokio::signal::unix::Signal;

/// Installs the SIGHUP handler, without which the signal would end the process.
#[cfg(unix)]
pub(super) fn hangups() -> StageResult<Hangups> {
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())
        .map_err(|error| StageError::local("daemon", "cannot listen for SIGHUP").caused_by(error))
}

/// Requests a reload on every SIGHUP.
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
