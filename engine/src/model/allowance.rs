//! What services allow all processes together: requests and tokens per minute, calls at once, and pauses. Each process
//! borrows what it needs for the next second, so that it asks once a second and not for each call.
//!
//! The arithmetic is here, apart from where the numbers are kept and from the clock.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use super::{Fingerprint, StageResult};

/// What can be borrowed at once, as a part of a minute's allowance: three seconds' worth.
const BURSTS_PER_MINUTE: f64 = 20.0;
/// How long a rate counts after a stage with it has borrowed.
const RATE_COUNTS: Duration = Duration::from_secs(60);

/// Keeps what services allow, for all processes that call them.
#[async_trait]
pub trait Allowances: fmt::Debug + Send + Sync {
    /// Borrows for the next second. Waits for a while if the allowances cannot be reached, then fails.
    async fn borrow(&self, key: &Fingerprint, borrow: &Borrow) -> StageResult<Loan>;

    /// Records how many calls of a borrower are under way, and frees its other places for calls.
    async fn report(&self, key: &Fingerprint, borrower: &str, in_flight: usize) -> StageResult<()>;

    /// Pauses all processes, unless they are paused for longer already.
    async fn pause(&self, key: &Fingerprint, pause: &Pause) -> StageResult<()>;
}

/// A service asked for a pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// Time until it ends.
    pub wait: Duration,
    /// What the service said, for people.
    pub reason: String,
}

/// A request for a loan.
#[derive(Debug, Clone, PartialEq)]
pub struct Borrow {
    /// Who borrows; different for each stage of each process.
    pub borrower: String,
    /// Requests; `None`: they are not limited.
    pub requests: Option<Draw>,
    /// Tokens; `None`: they are not limited.
    pub tokens: Option<Draw>,
    /// Calls at once; `None`: they are not limited for all processes together.
    pub calls: Option<Places>,
}

/// A request for units of a rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Draw {
    /// Units that all processes together may use in a minute.
    pub per_minute: f64,
    /// Units of an earlier loan that were not used.
    pub returned: f64,
    /// Without this many there is no loan.
    pub needed: f64,
    /// At least `needed`.
    pub wanted: f64,
}

/// A request for places for calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// Calls that all processes together may make at once.
    pub at_once: usize,
    /// Calls of this borrower that are under way.
    pub in_flight: usize,
    /// Places in all, more than `in_flight`.
    pub wanted: usize,
}

/// What is recorded of a service.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recorded {
    /// Requests that can be borrowed; `None`: none was ever borrowed.
    pub requests: Option<f64>,
    /// Tokens that can be borrowed. Less than zero after a call of more tokens than there were.
    pub tokens: Option<f64>,
    /// Age of these numbers.
    pub age: Duration,
    /// The smallest rate of requests with which stages borrow.
    pub request_rate: Option<Rate>,
    /// The same of tokens.
    pub token_rate: Option<Rate>,
    /// The pause that a service asked for.
    pub pause: Option<Pause>,
    /// Places of the other borrowers: those that they have, and those that they want.
    pub others: Vec<(usize, usize)>,
}

/// A rate that a stage has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Units in a minute.
    pub per_minute: f64,
    /// Time since a stage with this rate has borrowed.
    pub age: Duration,
}

/// What is borrowed, for a second.
#[derive(Debug, Clone, PartialEq)]
pub struct Loan {
    /// Requests; infinite where they are not limited.
    pub requests: f64,
    /// Tokens; infinite where they are not limited.
    pub tokens: f64,
    /// Places for calls, with those that are taken.
    pub calls: usize,
    /// Whether it is everything that was wanted.
    pub is_full: bool,
    /// Why nothing could be borrowed, and when it may be possible.
    pub lacking: Option<(Lacking, Duration)>,
    /// Nothing was borrowed because the service asked for a pause.
    pub pause: Option<Pause>,
}

/// What there was too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lacking {
    /// Requests per minute.
    Requests,
    /// Tokens per minute.
    Tokens,
    /// Places for calls.
    Calls,
}

impl Borrow {
    /// Decides on a loan, and subtracts it from `recorded`, whose numbers then have an age of zero. If stages of one
    /// account have different rates, the smallest counts for all of them, until it was not used for a minute: the service
    /// has one limit, and the larger rate may be a mistake or that of an older configuration.
    pub fn decide(&self, recorded: &mut Recorded) -> Loan {
        let age = std::mem::take(&mut recorded.age);
        let request_draw = self.requests.map(|draw| draw.bounded(&mut recorded.request_rate));
        let token_draw = self.tokens.map(|draw| draw.bounded(&mut recorded.token_rate));
        let requests = refilled(request_draw, &mut recorded.requests, age);
        let tokens = refilled(token_draw, &mut recorded.tokens, age);
        let calls = self.calls.map_or(usize::MAX, |places| places.granted(&recorded.others));
        let none = Loan {
            requests: 0.0,
            tokens: 0.0,
            calls: self.calls.map_or(usize::MAX, |places| places.in_flight),
            is_full: false,
            lacking: None,
            pause: None,
        };
        if recorded.pause.is_some() {
            return Loan { pause: recorded.pause.clone(), ..none };
        }
        if self.calls.is_some_and(|places| calls <= places.in_flight) {
            return Loan { lacking: Some((Lacking::Calls, Duration::ZERO)), ..none };
        }
        for (drawn, what) in [(&requests, Lacking::Requests), (&tokens, Lacking::Tokens)] {
            if let Some((draw, level)) = drawn
                && let Some(wait) = draw.wait(**level)
            {
                return Loan { lacking: Some((what, wait)), ..none };
            }
        }
        let mut is_full = self.calls.is_none_or(|places| calls >= places.wanted);
        let mut take = |drawn: Option<(Draw, &mut f64)>| {
            let Some((draw, level)) = drawn else { return f64::INFINITY };
            let granted = draw.granted(*level);
            *level -= granted;
            is_full &= granted >= draw.wanted;
            granted
        };
        let (requests, tokens) = (take(requests), take(tokens));
        Loan { requests, tokens, calls, is_full, lacking: None, pause: None }
    }

    /// True if nothing is limited, so that only pauses matter.
    pub fn is_free(&self) -> bool {
        self.requests.is_none() && self.tokens.is_none() && self.calls.is_none()
    }
}

/// The level of a rate, refilled, if it is limited.
fn refilled(draw: Option<Draw>, level: &mut Option<f64>, age: Duration) -> Option<(Draw, &mut f64)> {
    let draw = draw?;
    Some((draw, level.insert(draw.level(*level, age))))
}

impl Draw {
    /// The same at the smaller of its own rate and the recorded one, which becomes the smaller one.
    fn bounded(self, recorded: &mut Option<Rate>) -> Self {
        match *recorded {
            Some(Rate { per_minute, age }) if per_minute < self.per_minute && age < RATE_COUNTS => {
                Self { per_minute, ..self }
            }
            _ => {
                *recorded = Some(Rate { per_minute: self.per_minute, age: Duration::ZERO });
                self
            }
        }
    }

    /// The level of the bucket, refilled.
    fn level(&self, recorded: Option<f64>, age: Duration) -> f64 {
        let most = (self.per_minute / BURSTS_PER_MINUTE).max(1.0);
        let refilled = recorded.map_or(most, |level| level + age.as_secs_f64() * self.per_minute / 60.0);
        (refilled + self.returned).min(most)
    }

    /// Time until something can be borrowed; `None`: now. A call of more tokens than there are is let through, and what
    /// is left becomes negative: the rate holds in the long run, and large calls wait no longer than small ones.
    fn wait(&self, level: f64) -> Option<Duration> {
        let least = self.needed.min(1.0);
        let seconds = (least - level) * 60.0 / self.per_minute;
        (level < least).then(|| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }

    fn granted(&self, level: f64) -> f64 {
        self.wanted.min(level).floor().max(self.needed)
    }
}

impl Places {
    /// The max-min fair share of the places, at most as many as are free. Calls in flight keep theirs.
    fn granted(&self, others: &[(usize, usize)]) -> usize {
        let taken: usize = others.iter().map(|(calls, _)| calls).sum();
        let mut wants: Vec<usize> = others.iter().map(|(_, wanted)| *wanted).filter(|n| *n > 0).collect();
        wants.push(self.wanted);
        wants.sort_unstable();
        let (mut left, mut sharing) = (self.at_once, wants.len());
        let mut share = self.wanted;
        for wanted in wants {
            let fair = left / sharing;
            if wanted > fair {
                share = share.min(fair.max(1));
                break;
            }
            left -= wanted;
            sharing -= 1;
        }
        share.min(self.at_once.saturating_sub(taken)).max(self.in_flight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(per_minute: f64, needed: f64, wanted: f64) -> Draw {
        Draw { per_minute, returned: 0.0, needed, wanted }
    }

    fn requests(wanted: f64) -> Borrow {
        Borrow { borrower: "a".into(), requests: Some(draw(600.0, 1.0, wanted)), tokens: None, calls: None }
    }

    #[test]
    fn a_minute_gives_its_requests_and_a_burst_of_three_seconds() {
        let mut recorded = Recorded::default();
        let loan = requests(100.0).decide(&mut recorded);
        assert_eq!((loan.requests, loan.is_full, loan.lacking), (30.0, false, None));
        let loan = requests(1.0).decide(&mut recorded);
        assert_eq!(loan.lacking, Some((Lacking::Requests, Duration::from_millis(100))));
        recorded.age = Duration::from_millis(250);
        let loan = requests(1.0).decide(&mut recorded);
        assert_eq!((loan.requests, loan.is_full), (1.0, true));
        assert_eq!((recorded.requests, recorded.age), (Some(1.5), Duration::ZERO));
        recorded.age = Duration::from_secs(3600);
        let loan = requests(100.0).decide(&mut recorded);
        assert_eq!((loan.requests, recorded.requests), (30.0, Some(0.0)));
    }

    #[test]
    fn the_smallest_rate_of_an_account_counts_while_it_is_used() {
        let borrow = |per_minute| Borrow { requests: Some(draw(per_minute, 1.0, 100.0)), ..requests(1.0) };
        let mut recorded = Recorded::default();
        let lent = |per_minute, recorded: &mut Recorded| {
            let loan = borrow(per_minute).decide(recorded);
            (loan.requests, loan.lacking)
        };
        assert_eq!(lent(600.0, &mut recorded), (30.0, None));
        // A second later there would be ten; the stage with the smaller rate gets one, and so does the other one.
        for per_minute in [60.0, 600.0] {
            recorded.age = Duration::from_secs(1);
            assert_eq!(lent(per_minute, &mut recorded), (1.0, None), "{per_minute}");
        }
        recorded.age = RATE_COUNTS;
        recorded.request_rate = recorded.request_rate.map(|rate| Rate { age: RATE_COUNTS, ..rate });
        assert_eq!(lent(600.0, &mut recorded), (30.0, None), "nobody uses it any more");
    }

    #[test]
    fn what_was_not_used_comes_back() {
        let mut recorded = Recorded { requests: Some(0.0), ..Recorded::default() };
        let mut borrow = requests(5.0);
        borrow.requests = borrow.requests.map(|draw| Draw { returned: 3.0, ..draw });
        let loan = borrow.decide(&mut recorded);
        assert_eq!((loan.requests, loan.is_full), (3.0, false));
        borrow.requests = borrow.requests.map(|draw| Draw { returned: 500.0, ..draw });
        let loan = borrow.decide(&mut recorded);
        assert_eq!((loan.requests, recorded.requests), (5.0, Some(25.0)), "no more than the burst");
    }

    #[test]
    fn a_call_of_many_tokens_is_let_through_and_the_next_one_waits() {
        let mut recorded = Recorded::default();
        let tokens = |needed| Borrow { tokens: Some(draw(60_000.0, needed, needed)), ..requests(1.0) };
        let loan = tokens(20_000.0).decide(&mut recorded);
        assert_eq!((loan.tokens, recorded.tokens), (20_000.0, Some(-17_000.0)));
        let loan = tokens(10.0).decide(&mut recorded);
        assert_eq!(loan.lacking, Some((Lacking::Tokens, Duration::from_secs_f64(17.001))));
        assert_eq!((loan.requests, recorded.requests), (0.0, Some(29.0)), "no request is taken in vain");
    }

    #[test]
    fn a_pause_lends_nothing() {
        let pause = Some(Pause { wait: Duration::from_secs(30), reason: "slow down".into() });
        let mut recorded = Recorded { pause: pause.clone(), ..Recorded::default() };
        let loan = requests(1.0).decide(&mut recorded);
        assert_eq!((loan.pause, loan.requests, recorded.requests), (pause, 0.0, Some(30.0)));
    }

    #[test]
    fn places_are_shared_fairly_and_never_exceeded() {
        let places = |in_flight, wanted, others: &[(usize, usize)]| {
            Places { at_once: 80, in_flight, wanted }.granted(others)
        };
        assert_eq!(places(0, 100, &[]), 80);
        assert_eq!(places(0, 100, &[(80, 100)]), 0, "none is free yet");
        assert_eq!(places(80, 100, &[(0, 100)]), 80, "calls under way are not ended");
        assert_eq!(places(60, 100, &[(0, 100)]), 60);
        assert_eq!(places(10, 100, &[(0, 100)]), 40);
        assert_eq!(places(10, 100, &[(8, 8), (20, 100)]), 36);
        assert_eq!(places(0, 4, &[(40, 100), (30, 100)]), 4);
        assert_eq!(places(0, 2, &[(1, 1); 79]), 1, "everybody gets one");
        let calls = Some(Places { at_once: 80, in_flight: 3, wanted: 4 });
        let loan = Borrow { calls, ..requests(1.0) }
            .decide(&mut Recorded { others: vec![(80, 80)], ..Recorded::default() });
        assert_eq!((loan.lacking, loan.calls), (Some((Lacking::Calls, Duration::ZERO)), 3));
    }
}
