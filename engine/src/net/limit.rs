//! What a service allows, shared by everyone who calls it: calls at once, requests and tokens in a
//! minute, and pauses it asked for.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A budget that refills evenly: at most `per_minute` units in a minute, in bursts of a tenth of it.
#[derive(Debug)]
pub(super) struct Budget {
    per_minute: f64,
    level: f64,
    refilled: Instant,
}

impl Budget {
    /// A full budget.
    pub(super) fn per_minute(units: u32) -> Self {
        let per_minute = f64::from(units.max(1));
        Self { per_minute, level: per_minute / 10.0, refilled: Instant::now() }
    }

    /// Time until `units` are available; zero if they are, in which case they are spent.
    ///
    /// A request larger than the burst size passes once the bucket is full, and the level becomes negative: the
    /// long-run rate holds, and no request starves.
    fn spend(&mut self, units: f64, now: Instant) -> Duration {
        let rate = self.per_minute / 60.0;
        let burst = (self.per_minute / 10.0).max(1.0);
        let gained = now.duration_since(self.refilled).as_secs_f64() * rate;
        self.level = (self.level + gained).min(burst);
        self.refilled = now;
        let needed = units.min(burst);
        if self.level >= needed {
            self.level -= units;
            return Duration::ZERO;
        }
        Duration::from_secs_f64((needed - self.level) / rate).max(Duration::from_millis(1))
    }
}

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
}

#[derive(Debug)]
struct LimiterState {
    allowed: usize,
    in_flight: usize,
    good_since_change: usize,
    /// How often `allowed` was halved.
    halvings: u64,
    paused_until: Option<Instant>,
    /// The end of the last reported wait for a budget.
    told_until: Option<Instant>,
    requests: Option<Budget>,
    tokens: Option<Budget>,
}

impl LimiterState {
    /// A wait for a budget. It is reported unless one that ends later was.
    fn wait_for(&mut self, wait: Duration, cause: &'static str, now: Instant) -> Wait {
        let is_told = self.told_until.is_some_and(|until| until > now);
        if is_told || wait < SHORTEST_TOLD {
            return Wait::Time(wait, None);
        }
        self.told_until = Some(now + wait);
        Wait::Time(wait, Some(cause))
    }
}

/// What a caller has to wait for.
enum Wait {
    /// Until a call ends.
    ForACall,
    /// A time, with its cause if it has to be reported.
    Time(Duration, Option<&'static str>),
}

/// Shorter waits are not worth an event.
pub(super) const SHORTEST_TOLD: Duration = Duration::from_secs(1);

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
            state: Mutex::new(LimiterState {
                allowed: most,
                in_flight: 0,
                good_since_change: 0,
                halvings: 0,
                paused_until: None,
                told_until: None,
                requests: requests_per_minute.map(Budget::per_minute),
                tokens: tokens_per_minute.map(Budget::per_minute),
            }),
            freed: Notify::new(),
        })
    }

    /// Waits until a call of `tokens` tokens is allowed. `tell` is called with each longer wait for a budget and its
    /// cause, once for all callers; pauses are reported by those who learn of them.
    pub(super) async fn acquire(
        self: &Arc<Self>,
        tokens: u64,
        tell: impl Fn(Duration, &'static str),
    ) -> Permit {
        loop {
            let freed = self.freed.notified();
            match self.try_acquire(tokens) {
                Ok(halvings) => return Permit { limiter: Arc::clone(self), halvings },
                Err(Wait::ForACall) => freed.await,
                Err(Wait::Time(wait, cause)) => {
                    if let Some(cause) = cause {
                        tell(wait, cause);
                    }
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// Takes a place, and says how often the allowance was halved before.
    fn try_acquire(&self, tokens: u64) -> Result<u64, Wait> {
        let mut state = self.lock();
        let now = Instant::now();
        if state.in_flight >= state.allowed {
            return Err(Wait::ForACall);
        }
        if let Some(until) = state.paused_until {
            if until > now {
                return Err(Wait::Time(until - now, None));
            }
            state.paused_until = None;
        }
        let wait = state.requests.as_mut().map_or(Duration::ZERO, |budget| budget.spend(1.0, now));
        if !wait.is_zero() {
            return Err(state.wait_for(wait, "the limit of requests per minute is used up", now));
        }
        let wait = state.tokens.as_mut().map_or(Duration::ZERO, |budget| budget.spend(tokens as f64, now));
        if !wait.is_zero() {
            if let Some(requests) = state.requests.as_mut() {
                requests.level += 1.0; // not spent after all
            }
            return Err(state.wait_for(wait, "the limit of tokens per minute is used up", now));
        }
        state.in_flight += 1;
        Ok(state.halvings)
    }

    /// Everyone waits: the service asked for it, or reported that nothing is left until then.
    pub(super) fn pause(&self, wait: Duration) {
        let mut state = self.lock();
        let until = Instant::now() + wait;
        if state.paused_until.is_none_or(|present| present < until) {
            state.paused_until = Some(until);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet(_: Duration, _: &'static str) {}

    #[tokio::test(start_paused = true)]
    async fn calls_at_once_are_bounded_and_adapt() {
        let limiter = Limiter::new(4, None, None);
        let first = limiter.acquire(1, quiet).await;
        let _second = limiter.acquire(1, quiet).await;
        first.throttled();
        assert_eq!(limiter.allowed(), 2);
        let third = limiter.acquire(1, quiet).await;
        let waiting = tokio::time::timeout(Duration::from_secs(1), limiter.acquire(1, quiet)).await;
        assert!(waiting.is_err());
        third.succeeded();
        limiter.acquire(1, quiet).await.succeeded();
        assert_eq!(limiter.allowed(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_throttled_together_halve_once() {
        let limiter = Limiter::new(8, None, None);
        let mut together = Vec::new();
        for _ in 0..8 {
            together.push(limiter.acquire(1, quiet).await);
        }
        together.into_iter().for_each(Permit::throttled);
        assert_eq!(limiter.allowed(), 4);
        limiter.acquire(1, quiet).await.throttled();
        assert_eq!(limiter.allowed(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn budgets_hold_the_rate() {
        let limiter = Limiter::new(100, Some(600), Some(60_000));
        let start = Instant::now();
        for _ in 0..120 {
            limiter.acquire(1000, quiet).await.succeeded();
        }
        // 120,000 tokens at 60,000 a minute, less the first burst of 6,000.
        let seconds = start.elapsed().as_secs_f64();
        assert!((110.0..=125.0).contains(&seconds), "{seconds}");
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_hold_everyone() {
        let limiter = Limiter::new(2, None, None);
        limiter.pause(Duration::from_secs(30));
        let start = Instant::now();
        limiter.acquire(1, quiet).await.succeeded();
        assert!(start.elapsed() >= Duration::from_secs(30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_for_a_budget_is_told_once() {
        let limiter = Limiter::new(8, None, Some(60));
        let told = Mutex::new(Vec::new());
        let tell = |wait: Duration, cause| told.lock().push((wait.as_secs(), cause));
        let calls = (0..4).map(|_| async { limiter.acquire(6, tell).await.succeeded() });
        futures::future::join_all(calls).await;
        let told = told.into_inner();
        assert_eq!(told[0], (6, "the limit of tokens per minute is used up"));
        assert_eq!(told.len(), 3, "one for each wait, not for each caller: {told:?}");
    }
}
