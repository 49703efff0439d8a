//! Ctrl-C and SIGTERM: the first stops after the current batch, the second exits at once.

use std::io;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use super::progress::Progress;

/// Handles interruptions while a command runs.
pub(super) struct Interrupt {
    token: CancellationToken,
    listener: JoinHandle<()>,
}

impl Interrupt {
    /// Installs the handlers, so that the first signal no longer ends the process.
    pub(super) fn listen(progress: &Progress) -> io::Result<Self> {
        let mut signals = Signals::open()?;
        let token = CancellationToken::new();
        let (cancel, progress) = (token.clone(), progress.clone());
        let listener = tokio::spawn(async move {
            signals.next().await;
            progress.print("interrupted: finishing the current batch; press again to exit at once");
            cancel.cancel();
            signals.next().await;
            // Ledger and stores tolerate this: the next run continues.
            std::process::exit(Exit::Interrupted.code().into());
        });
        Ok(Self { token, listener })
    }

    /// A token that the first signal cancels.
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
