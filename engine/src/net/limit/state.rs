//! What a limiter counts, and whether a call may begin.

use std::time::Duration;

use tokio::time::Instant;

use super::budget::Budget;
use super::slice::{Limits, Short, Slice};
use crate::model::Lacking;

/// Shorter waits are not worth an event.
pub(in crate::net) const SHORTEST_TOLD: Duration = Duration::from_secs(1);

const NO_REQUESTS: &str = "the limit of requests per minute is used up";
const NO_TOKENS: &str = "the limit of tokens per minute is used up";
const NO_PLACES: &str = "other processes make as many calls as the service allows at once";

#[derive(Debug)]
pub(super) struct LimiterState {
    pub(super) allowed: usize,
    pub(super) in_flight: usize,
    pub(super) good_since_change: usize,
    /// How often `allowed` was halved.
    pub(super) halvings: u64,
    paused_until: Option<Instant>,
    /// The end of the last reported wait for a budget.
    told_until: Option<Instant>,
    requests: Option<Budget>,
    tokens: Option<Budget>,
    /// In place of `requests` and `tokens` where processes share the limits.
    pub(super) slice: Option<Slice>,
}

impl LimiterState {
    pub(super) fn new(calls: usize, requests: Option<Budget>, tokens: Option<Budget>) -> Self {
        Self {
            allowed: calls,
            in_flight: 0,
            good_since_change: 0,
            halvings: 0,
            paused_until: None,
            told_until: None,
            requests,
            tokens,
            slice: None,
        }
    }

    /// From now on the limits hold for several processes together.
    pub(super) fn share(&mut self, at_once: Option<usize>) {
        let limits = Limits {
            requests_per_minute: self.requests.take().map(|budget| budget.per_minute),
            tokens_per_minute: self.tokens.take().map(|budget| budget.per_minute),
            at_once,
        };
        self.slice = Some(Slice::new(limits, Instant::now()));
    }

    pub(super) fn pause(&mut self, wait: Duration) {
        let until = Instant::now() + wait;
        if self.paused_until.is_none_or(|present| present < until) {
            self.paused_until = Some(until);
        }
    }

    /// Takes a place, and says how often the allowance was halved before.
    pub(super) fn try_acquire(&mut self, tokens: u64) -> Result<u64, Wait> {
        let now = Instant::now();
        if self.in_flight >= self.allowed {
            return Err(Wait::ForACall);
        }
        if let Some(until) = self.paused_until {
            if until > now {
                return Err(Wait::Time(until - now, None));
            }
            self.paused_until = None;
        }
        let in_flight = self.in_flight;
        if let Some(slice) = &mut self.slice {
            if let Err(short) = slice.spend(tokens, in_flight, now) {
                return Err(self.wait_for_others(&short, now));
            }
            self.in_flight += 1;
            return Ok(self.halvings);
        }
        let wait = self.requests.as_mut().map_or(Duration::ZERO, |budget| budget.spend(1.0, now));
        if !wait.is_zero() {
            return Err(self.wait_for(wait, NO_REQUESTS, now));
        }
        let wait = self.tokens.as_mut().map_or(Duration::ZERO, |budget| budget.spend(tokens as f64, now));
        if !wait.is_zero() {
            if let Some(requests) = self.requests.as_mut() {
                requests.level += 1.0; // not spent after all
            }
            return Err(self.wait_for(wait, NO_TOKENS, now));
        }
        self.in_flight += 1;
        Ok(self.halvings)
    }

    /// A wait for a budget. It is reported unless one that ends later was.
    fn wait_for(&mut self, wait: Duration, cause: &'static str, now: Instant) -> Wait {
        let is_told = self.told_until.is_some_and(|until| until > now);
        if is_told || wait < SHORTEST_TOLD {
            return Wait::Time(wait, None);
        }
        self.told_until = Some(now + wait);
        Wait::Time(wait, Some((wait, cause)))
    }

    /// A wait for what other processes use.
    fn wait_for_others(&mut self, short: &Short, now: Instant) -> Wait {
        let Short::Until(next, lacking) = *short else { return Wait::ForALoan };
        let told = lacking.and_then(|(what, until)| {
            let cause = match what {
                Lacking::Requests => NO_REQUESTS,
                Lacking::Tokens => NO_TOKENS,
                Lacking::Calls if self.in_flight == 0 => NO_PLACES,
                // The end of any call of this process frees a place.
                Lacking::Calls => return None,
            };
            match self.wait_for(until.saturating_duration_since(now), cause, now) {
                Wait::Time(_, told) => told,
                Wait::ForACall | Wait::ForALoan | Wait::ForOthers(..) => None,
            }
        });
        Wait::ForOthers(next.saturating_duration_since(now), told)
    }
}

/// A wait that has to be reported, and its cause.
pub(super) type Told = Option<(Duration, &'static str)>;

/// What a caller has to wait for.
#[derive(Debug)]
pub(super) enum Wait {
    /// Until a call ends.
    ForACall,
    /// A time.
    Time(Duration, Told),
    /// A loan of what processes share.
    ForALoan,
    /// A time, or the end of a call.
    ForOthers(Duration, Told),
}
