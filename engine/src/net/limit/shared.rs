//! What a limiter needs to share its limits with other processes.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex as SyncMutex;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::slice::SLICE;
use crate::model::{Allowances, Borrow, Fingerprint, Loan, Pause, StageError, StageResult};

/// The allowances of one service, and this limiter as one of their borrowers.
#[derive(Debug)]
pub(super) struct Shared {
    /// The stage's name, for logs.
    pub(super) stage: String,
    allowances: Arc<dyn Allowances>,
    key: Fingerprint,
    /// Different for each limiter.
    pub(super) borrower: String,
    turn: Mutex<()>,
    /// How often a loan could not be asked for, and why the last time.
    failed: SyncMutex<(u64, Option<StageError>)>,
    /// The end of the last pause that was recorded for other processes.
    recorded_pause: SyncMutex<Option<Instant>>,
    /// Whether a task reports the calls in flight.
    pub(super) is_reporting: SyncMutex<bool>,
}

impl Shared {
    pub(super) fn new(stage: &str, allowances: Arc<dyn Allowances>, key: Fingerprint) -> Self {
        let random = || getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()));
        Self {
            stage: stage.to_owned(),
            allowances,
            key,
            borrower: format!("{:016x}{:016x}", random(), random()),
            turn: Mutex::default(),
            failed: SyncMutex::default(),
            recorded_pause: SyncMutex::default(),
            is_reporting: SyncMutex::default(),
        }
    }

    /// The right to ask for a loan or to report, which one task has at a time. If a request for a loan fails, so do those
    /// that wait for the turn meanwhile: the state was tried for long enough.
    pub(super) async fn turn(&self) -> StageResult<MutexGuard<'_, ()>> {
        let before = self.failed.lock().0;
        let turn = self.turn.lock().await;
        match &*self.failed.lock() {
            (times, Some(error)) if *times != before => Err(error.clone()),
            _ => Ok(turn),
        }
    }

    /// Asks for a loan. The caller has the turn.
    pub(super) async fn borrow(&self, borrow: &Borrow) -> StageResult<Loan> {
        let lent = self.allowances.borrow(&self.key, borrow).await;
        if let Err(error) = &lent {
            let mut failed = self.failed.lock();
            *failed = (failed.0 + 1, Some(error.clone()));
        }
        lent
    }

    /// Reports the calls in flight. The caller has the turn.
    pub(super) async fn report(&self, in_flight: usize) -> StageResult<()> {
        self.allowances.report(&self.key, &self.borrower, in_flight).await
    }

    /// Pauses the other processes, in a task of its own.
    pub(super) fn pause_others(&self, wait: Duration, reason: &str) {
        if !self.is_news(wait) {
            return;
        }
        let (allowances, key) = (Arc::clone(&self.allowances), self.key.clone());
        let pause = Pause { wait, reason: reason.to_owned() };
        tokio::spawn(async move {
            if let Err(error) = allowances.pause(&key, &pause).await {
                // The service refuses their calls, too.
                tracing::warn!(error = %error.one_line(), "cannot record a pause for other processes");
            }
        });
    }

    /// Whether a pause has to be recorded for other processes.
    fn is_news(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        let mut recorded = self.recorded_pause.lock();
        // Responses to concurrent calls ask for nearly the same pause. A pause that is shorter than a loan is over before
        // other processes learn of it.
        let is_news = wait >= SLICE && recorded.is_none_or(|recorded| recorded + SLICE <= until);
        if is_news {
            *recorded = Some(until);
        }
        is_news
    }
}
