//! Work on units that are claimed from the queue: by a worker, or by the process of the run.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::setup::{Engine, Project};
use super::unit::{Progress, UnitResult, work};
use crate::model::{ErrorKind, StageError, StageResult};
use crate::state::{ClaimedUnit, PutBack, Queue, State, UnitClaim};

/// How often the progress of a unit is recorded.
const REPORT: Duration = Duration::from_millis(500);

/// Where a worker finds the project of a unit, with its stages.
#[async_trait]
pub trait Workshop: Send + Sync {
    /// What runs share, and the project, of a generation of the configuration. An error of kind `Cancelled`: the unit is
    /// left to others.
    async fn project(&self, unit: &ClaimedUnit) -> StageResult<(Engine, Arc<Project>)>;
}

/// Claims units and works on them, several side by side.
pub struct Worker {
    /// Holds the queue.
    pub state: Arc<dyn State>,
    /// What is claimed.
    pub claim: UnitClaim,
    /// How long a look for new units waits where no message comes: `[workers].poll`.
    pub poll: Duration,
    /// Where projects come from.
    pub workshop: Arc<dyn Workshop>,
    /// Ends the worker: units that are worked on finish their current batch and go back.
    pub cancel: CancellationToken,
}

impl Worker {
    /// Works until it is cancelled, or may not work any more.
    pub async fn run(self) -> StageResult<()> {
        let this = Arc::new(self);
        let mut ready = this.queue()?.ready();
        let mut running = JoinSet::new();
        let mut wait = Duration::ZERO;
        let mut ended = Ok(());
        while !this.cancel.is_cancelled() {
            tokio::select! {
                () = this.cancel.cancelled() => break,
                Some(_) = running.join_next() => {}
                () = woken(&mut ready, wait) => {}
            }
            wait = this.poll;
            let room = this.claim.units.saturating_sub(running.len());
            if room == 0 {
                continue;
            }
            let claim = UnitClaim { units: room, ..this.claim.clone() };
            match this.queue()?.claim(&claim).await {
                Ok(units) => {
                    if units.len() == room {
                        wait = Duration::ZERO;
                    }
                    for unit in units {
                        let (worker, span) = (Arc::clone(&this), span(&unit));
                        running.spawn(async move { worker.work(unit).await }.instrument(span));
                    }
                }
                Err(error) if error.kind == ErrorKind::Outdated => {
                    ended = Err(error);
                    break;
                }
                Err(error) => tracing::error!(error = %error.one_line(), "cannot claim units"),
            }
        }
        while running.join_next().await.is_some() {}
        ended
    }

    fn queue(&self) -> StageResult<&dyn Queue> {
        self.state
            .queue()
            .ok_or_else(|| StageError::new("engine", ErrorKind::Bug, "the state has no queue for workers"))
    }

    /// Works on a unit, and says what became of it.
    async fn work(&self, unit: ClaimedUnit) {
        let fence = unit.lease.fence();
        let done = self.attempt(&unit).await;
        let told = match done {
            Ok(result) => self.finish(fence, &result).await,
            Err(error) => self.put_back(fence, &error).await,
        };
        match told {
            Err(error) if error.kind == ErrorKind::Fenced => {
                tracing::warn!("the unit was taken over by another worker; what is left of it is dropped");
            }
            Err(error) => tracing::error!(error = %error.one_line(), "cannot end the unit"),
            Ok(()) => {}
        }
    }

    async fn attempt(&self, unit: &ClaimedUnit) -> StageResult<UnitResult> {
        let (engine, project) = match self.workshop.project(unit).await {
            Ok(made) => made,
            Err(error) if error.kind == ErrorKind::Misconfigured => {
                return Ok(UnitResult::refused(&unit.repository, &error));
            }
            Err(error) => return Err(error),
        };
        let engine = Engine { cancel: self.cancel.child_token(), ..engine };
        let progress = Progress::default();
        let working = work(&engine, project, unit.lease.clone(), &unit.task, &progress);
        tokio::select! {
            done = working => done,
            stuck = engine.waits.stuck(&unit.lease) => Err(stuck),
            never = self.report(unit, &progress) => match never {},
        }
    }

    /// Records the progress again and again.
    async fn report(&self, unit: &ClaimedUnit, progress: &Progress) -> Infallible {
        let mut recorded = progress.now();
        loop {
            tokio::time::sleep(REPORT).await;
            let now = progress.now();
            if now != recorded
                && let Ok(queue) = self.queue()
                && let Ok(json) = serde_json::to_string(&now)
                && queue.report(unit.lease.fence(), &json).await.is_ok()
            {
                recorded = now;
            }
        }
    }

    async fn finish(&self, fence: crate::state::Fence, result: &UnitResult) -> StageResult<()> {
        self.queue()?.finish(fence, &result.to_json()).await
    }

    async fn put_back(&self, fence: crate::state::Fence, error: &StageError) -> StageResult<()> {
        let why = match error.kind {
            ErrorKind::Cancelled | ErrorKind::Fenced | ErrorKind::Outdated => PutBack::Unfinished,
            ErrorKind::Transient { retry_after } => self.failed(error, retry_after),
            _ => self.failed(error, None),
        };
        if why != PutBack::Unfinished {
            tracing::warn!(error = %error.one_line(), "the unit failed; it is tried again later");
        }
        self.queue()?.put_back(fence, why).await
    }

    fn failed(&self, error: &StageError, after: Option<Duration>) -> PutBack {
        PutBack::Failed { reason: error.one_line(), after, attempts: self.claim.attempts }
    }
}

/// Resolves when units may have become ready, or after a while.
async fn woken(ready: &mut watch::Receiver<u64>, wait: Duration) {
    tokio::select! {
        Ok(()) = ready.changed() => {}
        () = tokio::time::sleep(wait) => {}
    }
}

fn span(unit: &ClaimedUnit) -> tracing::Span {
    tracing::info_span!(
        "unit",
        unit = unit.id,
        run = unit.run,
        project = unit.project,
        repository = unit.repository
    )
}
