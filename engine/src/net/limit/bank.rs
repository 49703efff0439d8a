//! Shared allowances in memory, on the clock of the test. Loans are decided by the same arithmetic as in a database.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::model::{Allowances, Borrow, Fingerprint, Loan, Pause, Recorded, StageError, StageResult};

/// How long an answer takes.
const LATENCY: Duration = Duration::from_millis(3);

#[derive(Debug, Default)]
pub(in crate::net) struct Bank {
    account: Mutex<Account>,
    /// Fails every request.
    pub(in crate::net) is_down: AtomicBool,
    asked: AtomicUsize,
}

#[derive(Debug, Default)]
struct Account {
    recorded: Recorded,
    refilled: Option<Instant>,
    paused: Option<(Instant, String)>,
    places: HashMap<String, (usize, usize)>,
    most_lent: f64,
}

impl Account {
    fn lend(&mut self, borrow: &Borrow) -> Loan {
        let now = Instant::now();
        let Self { recorded, refilled, paused, places, most_lent } = self;
        recorded.age = refilled.map_or(Duration::ZERO, |refilled| now - refilled);
        *refilled = Some(now);
        recorded.pause = paused
            .as_ref()
            .filter(|(until, _)| *until > now)
            .map(|(until, reason)| Pause { wait: *until - now, reason: reason.clone() });
        let others = places.iter().filter(|(name, _)| **name != borrow.borrower);
        recorded.others = others.map(|(_, places)| *places).collect();
        let loan = borrow.decide(recorded);
        if let Some(wanted) = borrow.calls {
            places.insert(borrow.borrower.clone(), (loan.calls, wanted.wanted));
        }
        *most_lent = most_lent.max(loan.requests);
        loan
    }
}

impl Bank {
    /// Number of requests for a loan.
    pub(in crate::net) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// The largest loan of requests.
    pub(in crate::net) fn most_lent(&self) -> f64 {
        self.account.lock().most_lent
    }

    /// Places for calls that are lent now.
    pub(in crate::net) fn places(&self) -> usize {
        self.account.lock().places.values().map(|(calls, _)| calls).sum()
    }

    async fn answer(&self) -> StageResult<()> {
        sleep(LATENCY).await;
        if self.is_down.load(Ordering::Relaxed) {
            return Err(StageError::transient("state", "the database is away"));
        }
        Ok(())
    }
}

#[async_trait]
impl Allowances for Bank {
    async fn borrow(&self, _: &Fingerprint, borrow: &Borrow) -> StageResult<Loan> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.answer().await?;
        let loan = self.account.lock().lend(borrow);
        sleep(LATENCY).await;
        Ok(loan)
    }

    async fn report(&self, _: &Fingerprint, borrower: &str, in_flight: usize) -> StageResult<()> {
        self.answer().await?;
        let places = &mut self.account.lock().places;
        if in_flight == 0 {
            places.remove(borrower);
        } else {
            places.insert(borrower.to_owned(), (in_flight, in_flight));
        }
        Ok(())
    }

    async fn pause(&self, _: &Fingerprint, pause: &Pause) -> StageResult<()> {
        self.answer().await?;
        let until = Instant::now() + pause.wait;
        let paused = &mut self.account.lock().paused;
        if paused.as_ref().is_none_or(|(present, _)| *present < until) {
            *paused = Some((until, pause.reason.clone()));
        }
        Ok(())
    }
}
