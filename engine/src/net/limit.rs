//! What a service allows, shared by everyone who calls it: calls at once, requests and tokens in a
//! minute, and pauses it asked for.

#[cfg(test)]
pub(super) mod bank;
mod budget;
mod shared;
mod slice;
mod state;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::budget::Budget;
use self::shared::Shared;
use self::slice::{Calls, SLICE};
pub(super) use self::state::SHORTEST_TOLD;
use self::state::{LimiterState, Wait};
use super::retry::LONGEST_WAIT;
use crate::model::{Allowances, Fingerprint, Pause, StageError};

/// Guards the calls to one service.
///
/// Concurrency adapts: a throttled call halves it, each run of good calls as long as the present
/// allowance raises it by one, up to the configured number (additive increase, multiplicative
/// decrease, as TCP does).
#[derive(Debug)]
pub struct Limiter {
    most: usize,
    state: Mutex<LimiterState>,
    freed: Notify,
    /// Set where the limits hold for several processes together.
    shared: OnceLock<Shared>,
}

/// Why there is no permit for a call, and will not be soon.
#[derive(Debug)]
pub(super) enum NoPermit {
    /// The service refuses all calls for this long, as its answer to another process says.
    Closed(Pause),
    /// What processes share could not be reached.
    Unknown(StageError),
}

/// Permission for one call; give it back by dropping it.
#[derive(Debug)]
pub(super) struct Permit {
    limiter: Arc<Limiter>,
    /// `halvings` when it was given.
    halvings: u64,
}

impl Limiter {
    /// At most `calls` at once, and within the budgets given.
    pub fn new(calls: usize, requests_per_minute: Option<u32>, tokens_per_minute: Option<u32>) -> Arc<Self> {
        let most = calls.max(1);
        Arc::new(Self {
            most,
            state: Mutex::new(LimiterState::new(
                most,
                requests_per_minute.map(Budget::per_minute),
                tokens_per_minute.map(Budget::per_minute),
            )),
            freed: Notify::new(),
            shared: OnceLock::new(),
        })
    }

    /// Waits until a call of `tokens` tokens is allowed. `tell` is called with each longer wait for a budget and its
    /// cause, once for all callers, and with pauses that another process was asked for. Pauses that a response of this
    /// process asks for are reported where the response is read.
    pub(super) async fn acquire(
        self: &Arc<Self>,
        tokens: u64,
        tell: impl Fn(Duration, &str),
    ) -> Result<Permit, NoPermit> {
        let shared = self.shared.get();
        let _waiting = shared.map(|_| Waiting::begin(self, tokens));
        // One caller at a time asks for a loan; the others then find what it got.
        let mut turn = None;
        loop {
            let freed = self.freed.notified();
            let tried = self.lock().try_acquire(tokens);
            let wait = match tried {
                Ok(halvings) => return Ok(Permit { limiter: Arc::clone(self), halvings }),
                Err(wait) => wait,
            };
            if let (Wait::ForALoan, Some(shared)) = (&wait, shared) {
                if turn.is_some() {
                    self.borrow(shared, tokens, &tell).await?;
                } else {
                    turn = Some(shared.turn().await.map_err(NoPermit::Unknown)?);
                }
                continue;
            }
            turn = None;
            if let Wait::Time(_, Some((wait, cause))) | Wait::ForOthers(_, Some((wait, cause))) = wait {
                tell(wait, cause);
            }
            match wait {
                Wait::ForACall | Wait::ForALoan => freed.await,
                Wait::Time(wait, _) => tokio::time::sleep(wait).await,
                Wait::ForOthers(wait, _) => tokio::select! {
                    () = freed => {}
                    () = tokio::time::sleep(wait) => {}
                },
            }
        }
    }

    /// Holds all calls, also those of other processes that share the limits: the service asked for it, or reported that
    /// nothing is left until then.
    pub(super) fn pause(&self, wait: Duration, reason: &str) {
        self.lock().pause(wait);
        self.pause_others(wait, reason);
    }

    /// Pauses the other processes that share the limits.
    pub(super) fn pause_others(&self, wait: Duration, reason: &str) {
        if let Some(shared) = self.shared.get() {
            shared.pause_others(wait, reason);
        }
    }

    /// From now on the limits hold for all processes with the same `key` together, which make at most `at_once` calls at
    /// once. `stage`: its name, for logs.
    pub(super) fn share(
        &self,
        stage: &str,
        allowances: Arc<dyn Allowances>,
        key: Fingerprint,
        at_once: Option<usize>,
    ) {
        if self.shared.set(Shared::new(stage, allowances, key)).is_ok() {
            self.lock().share(at_once);
        }
    }

    /// Asks for the next loan. The caller has the turn.
    async fn borrow(
        self: &Arc<Self>,
        shared: &Shared,
        tokens: u64,
        tell: &impl Fn(Duration, &str),
    ) -> Result<(), NoPermit> {
        let borrow = {
            let mut state = self.lock();
            let calls = Calls { in_flight: state.in_flight, allowed: state.allowed };
            let Some(slice) = &mut state.slice else { return Ok(()) };
            slice.ask(&shared.borrower, tokens, calls, Instant::now())
        };
        if borrow.calls.is_some() {
            self.report_calls(shared);
        }
        let loan = shared.borrow(&borrow).await.map_err(NoPermit::Unknown)?;
        if let Some(slice) = &mut self.lock().slice {
            slice.take(&loan, Instant::now());
        }
        let Some(pause) = loan.pause else { return Ok(()) };
        if pause.wait > LONGEST_WAIT {
            return Err(NoPermit::Closed(pause));
        }
        self.lock().pause(pause.wait);
        if pause.wait >= SHORTEST_TOLD {
            let (stage, reason) = (&shared.stage, &pause.reason);
            tracing::warn!(stage, wait = ?pause.wait, reason, "the service asked another process to pause");
            tell(pause.wait, &pause.reason);
        }
        Ok(())
    }

    /// Starts a task that reports the calls in flight until there are none, so that unused places become free for other
    /// processes.
    fn report_calls(self: &Arc<Self>, shared: &Shared) {
        let mut is_reporting = shared.is_reporting.lock();
        if !*is_reporting {
            *is_reporting = true;
            tokio::spawn(Arc::clone(self).report());
        }
    }

    async fn report(self: Arc<Self>) {
        let Some(shared) = self.shared.get() else { return };
        loop {
            tokio::time::sleep(SLICE).await;
            // Also after a failure: places that are not reported lapse.
            let Ok(_turn) = shared.turn().await else { continue };
            // With the turn and without a usable loan, no call begins until the report is made.
            let in_flight = {
                let state = self.lock();
                if state.slice.as_ref().is_some_and(|slice| slice.is_usable(Instant::now())) {
                    continue;
                }
                state.in_flight
            };
            match shared.report(in_flight).await {
                Ok(()) if in_flight == 0 => {
                    *shared.is_reporting.lock() = false;
                    return;
                }
                Ok(()) => {}
                Err(error) => tracing::debug!(error = %error.one_line(), "calls could not be reported"),
            }
        }
    }

    /// Calls allowed at once now.
    #[cfg(test)]
    pub(super) fn allowed(&self) -> usize {
        self.lock().allowed
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, LimiterState> {
        self.state.lock()
    }
}

impl Permit {
    /// The call went well.
    pub(super) fn succeeded(self) {
        let mut state = self.limiter.lock();
        state.good_since_change += 1;
        if state.allowed < self.limiter.most && state.good_since_change >= state.allowed {
            state.allowed += 1;
            state.good_since_change = 0;
        }
    }

    /// The service said that it was too much. Calls that were in flight together tell it
    /// together: they halve the allowance once.
    pub(super) fn throttled(self) {
        let mut state = self.limiter.lock();
        if state.halvings == self.halvings {
            state.allowed = (state.allowed / 2).max(1);
            state.halvings += 1;
        }
        state.good_since_change = 0;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limiter.lock().in_flight -= 1;
        self.limiter.freed.notify_waiters();
    }
}

/// A caller that waits for a permit.
struct Waiting<'a> {
    limiter: &'a Limiter,
    tokens: u64,
}

impl<'a> Waiting<'a> {
    fn begin(limiter: &'a Limiter, tokens: u64) -> Self {
        if let Some(slice) = &mut limiter.lock().slice {
            slice.waiting += 1;
            slice.waiting_tokens += tokens;
        }
        Self { limiter, tokens }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(slice) = &mut self.limiter.lock().slice {
            slice.waiting -= 1;
            slice.waiting_tokens -= self.tokens;
        }
    }
}
