//! What a process borrowed from a service's shared allowance, and how much it asks for next.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::{Borrow, Draw, Lacking, Loan, Places};
use crate::net::retry::{LONGEST_WAIT, jitter};

/// How long a loan may be used. Where less is lent than is wanted, the next loan is asked for after this time.
pub(super) const SLICE: Duration = Duration::from_secs(1);
/// How long what was not used can be given back.
const RETURNABLE: Duration = Duration::from_secs(2);
/// Jitter of the requests for loans, so that no process is always the last.
const SPREAD: Duration = Duration::from_millis(200);

/// What limits the calls of all processes together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) requests_per_minute: Option<f64>,
    pub(super) tokens_per_minute: Option<f64>,
    pub(super) at_once: Option<usize>,
}

/// Calls of this process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calls {
    pub(super) in_flight: usize,
    /// Calls that this process may make at once.
    pub(super) allowed: usize,
}

/// What is borrowed now.
#[derive(Debug)]
pub(super) struct Slice {
    limits: Limits,
    borrowed: Instant,
    requests: f64,
    tokens: f64,
    /// Places for calls, with those that are taken.
    calls: usize,
    is_over: bool,
    /// The time before which no loan is asked for.
    next: Instant,
    /// What was lacking, and until when.
    lacking: Option<(Lacking, Instant)>,
    request_pace: Pace,
    token_pace: Pace,
    /// Callers that wait for a permit, and their tokens.
    pub(super) waiting: usize,
    pub(super) waiting_tokens: u64,
}

/// Why a call cannot begin.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Short {
    /// A loan has to be asked for.
    Loan,
    /// The next loan may be asked for at the first time. What is lacking may be there at the second.
    Until(Instant, Option<(Lacking, Instant)>),
}

impl Slice {
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            borrowed: now,
            requests: 0.0,
            tokens: 0.0,
            calls: 0,
            is_over: true,
            next: now,
            lacking: None,
            request_pace: Pace::new(now),
            token_pace: Pace::new(now),
            waiting: 0,
            waiting_tokens: 0,
        }
    }

    /// Takes what one call needs.
    pub(super) fn spend(&mut self, tokens: u64, in_flight: usize, now: Instant) -> Result<(), Short> {
        let needed = tokens as f64;
        let has_all = in_flight < self.calls && self.requests >= 1.0 && self.tokens >= needed;
        if self.is_usable(now) && has_all {
            self.requests -= 1.0;
            self.tokens -= needed;
            self.request_pace.add(1.0, now);
            self.token_pace.add(needed, now);
            return Ok(());
        }
        if self.next > now { Err(Short::Until(self.next, self.lacking)) } else { Err(Short::Loan) }
    }

    /// Whether calls may begin with what is borrowed.
    pub(super) fn is_usable(&self, now: Instant) -> bool {
        !self.is_over && now.duration_since(self.borrowed) < SLICE
    }

    /// The request for the next loan, of which a call needs `tokens` tokens. Nothing that is borrowed can be used until
    /// it is answered.
    pub(super) fn ask(&mut self, borrower: &str, tokens: u64, calls: Calls, now: Instant) -> Borrow {
        let Calls { in_flight, allowed } = calls;
        let is_returned = now.duration_since(self.borrowed) < RETURNABLE;
        let waiting = self.waiting.max(1);
        let ready = allowed.saturating_sub(in_flight).clamp(1, waiting);
        let ready_tokens = self.waiting_tokens as f64 * ready as f64 / waiting as f64;
        let draw = |per_minute: Option<f64>, left: f64, needed: f64, expected: f64| {
            let per_minute = per_minute?;
            // A second's worth, unless the call needs more.
            let wanted = expected.min(per_minute / 60.0).floor().max(needed);
            let returned = if is_returned { left } else { 0.0 };
            Some(Draw { per_minute, returned, needed, wanted })
        };
        let requests = self.request_pace.in_a_slice(now).max(ready as f64);
        let requests = draw(self.limits.requests_per_minute, self.requests, 1.0, requests);
        let tokens_expected = self.token_pace.in_a_slice(now).max(ready_tokens);
        let tokens = draw(self.limits.tokens_per_minute, self.tokens, tokens as f64, tokens_expected);
        let wanted = allowed.min(2 * (in_flight + waiting)).max(in_flight + 1);
        let calls = self.limits.at_once.map(|at_once| Places { at_once, in_flight, wanted });
        (self.requests, self.tokens, self.is_over) = (0.0, 0.0, true);
        Borrow { borrower: borrower.to_owned(), requests, tokens, calls }
    }

    /// Takes a loan that was given now.
    pub(super) fn take(&mut self, loan: &Loan, now: Instant) {
        (self.requests, self.tokens, self.calls) = (loan.requests, loan.tokens, loan.calls);
        (self.borrowed, self.is_over) = (now, false);
        let wait = loan.lacking.map_or(Duration::ZERO, |(_, wait)| wait.min(LONGEST_WAIT));
        let pause = if loan.is_full { Duration::ZERO } else { wait.max(SLICE) + SPREAD.mul_f64(jitter()) };
        self.next = now + pause;
        self.lacking = loan.lacking.map(|(what, _)| {
            // Other processes free places at any time.
            (what, if what == Lacking::Calls { self.next } else { now + wait })
        });
    }
}

/// How much was used in the last second.
#[derive(Debug)]
struct Pace {
    since: Instant,
    current: f64,
    previous: f64,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { since: now, current: 0.0, previous: 0.0 }
    }

    fn add(&mut self, units: f64, now: Instant) {
        self.begin(now);
        self.current += units;
    }

    fn in_a_slice(&mut self, now: Instant) -> f64 {
        self.begin(now);
        self.current.max(self.previous)
    }

    /// Begins the next second, if this one is over.
    fn begin(&mut self, now: Instant) {
        let age = now.duration_since(self.since);
        if age >= SLICE {
            self.previous = if age < 2 * SLICE { self.current } else { 0.0 };
            (self.since, self.current) = (now, 0.0);
        }
    }
}
