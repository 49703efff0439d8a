//! Ctrl-C and SIGTERM: the first finishes the batch in hand, the second leaves at once.

use std::io;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use super::progress::Progress;

/// Listens for interruptions while a command runs.
pub(super) struct Interrupt {
    token: CancellationToken,
    listener: JoinHandle<()>,
}

impl Interrupt {
    /// Begins to listen: from here on no signal ends the process unasked.
    pub(super) fn listen(progress: &Progress) -> io::Result<Self> {
        let mut signals = Signals::open()?;
        let token = CancellationToken::new();
        let (cancel, progress) = (token.clone(), progress.clone());
        let listener = tokio::spawn(async move {
            signals.next().await;
            progress.print("interrupted: finishing the batch in hand; again to leave at once");
            cancel.cancel();
            signals.next().await;
            // Ledger and stores are made for this: the next run continues.
            std::process::exit(Exit::Interrupted.code().into());
        });
        Ok(Self { token, listener })
    }

    /// Cancelled by the first signal.
    pub(super) fn token(&self) -> CancellationToken {
        self.token.clone()
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn open() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    #[expect(clippy::unnecessary_wraps, reason = "fails on other systems")]
    fn open() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        drop(tokio::signal::ctrl_c().await);
    }
}
