//! Notifies systemd of state changes and signs of life, if it started the daemon and asked for them.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// The states that are sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum ServiceState {
    /// The daemon serves, after its start or a reload.
    Ready,
    /// The file is read again.
    Reloading,
    /// No more work is accepted.
    Stopping,
    /// The dispatcher is at work.
    Alive,
}

/// Sends a state to the socket in `NOTIFY_SOCKET`; does nothing if that is not set.
#[cfg(unix)]
pub(super) fn notify(state: ServiceState) {
    use sd_notify::NotifyState;

    let sent = match state {
        ServiceState::Ready => sd_notify::notify(&[NotifyState::Ready]),
        // `Type=notify-reload` wants the time with it.
        ServiceState::Reloading => NotifyState::monotonic_usec_now()
            .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now])),
        ServiceState::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
        ServiceState::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
    };
    if let Err(error) = sent {
        tracing::warn!(%error, ?state, "cannot notify systemd");
    }
}

#[cfg(not(unix))]
pub(super) fn notify(_state: ServiceState) {}

/// When the next sign of life is due: twice in each period of `WatchdogSec`.
pub(super) struct Watchdog(Option<Interval>);

impl Watchdog {
    pub(super) fn start() -> Self {
        Self(period().filter(|period| !period.is_zero()).map(|period| {
            let mut due = interval(period / 2);
            due.set_missed_tick_behavior(MissedTickBehavior::Delay);
            due
        }))
    }

    /// Waits until a sign of life is due; for ever if none is asked for.
    pub(super) async fn due(&mut self) {
        match &mut self.0 {
            Some(due) => {
                due.tick().await;
            }
            None => std::future::pending().await,
        }
    }
}

#[cfg(unix)]
fn period() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

#[cfg(not(unix))]
fn period() -> Option<Duration> {
    None
}
