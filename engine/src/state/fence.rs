//! Leases on projects and units, and the fencing tokens that prove them.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::model::{ErrorKind, Running, StageError, StageResult};

/// The name that errors of the state carry instead of a stage's.
pub(crate) const STAGE: &str = "ledger";

/// A fencing token: proof of a lease, passed to every call that writes and checked in its transaction. A call
/// whose lease was taken over changes nothing and fails with [`Fence::lost`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fence {
    /// Differs between any two leases of a state, and grows each time that one is given.
    pub epoch: i64,
}

impl Fence {
    /// The error of a write whose lease was taken over by another holder.
    pub fn lost() -> StageError {
        StageError::new(STAGE, ErrorKind::Fenced, "the lease on this work was taken over by another process")
            .hint("nothing of it was changed; the other process continues the work")
    }
}

/// A lease. It ends when the last clone is dropped, and with the process.
#[derive(Clone)]
pub struct Lease {
    fence: Fence,
    term: Option<Term>,
    _held: Arc<dyn Any + Send + Sync>,
}

impl Lease {
    /// A lease that is held as long as `held` exists. `term`: of one that has to be renewed.
    pub fn new(fence: Fence, term: Option<Term>, held: Arc<dyn Any + Send + Sync>) -> Self {
        Self { fence, term, _held: held }
    }

    /// Its fencing token.
    pub fn fence(&self) -> Fence {
        self.fence
    }

    /// Reports that the work under the lease makes progress. From the first report on, the lease is renewed only
    /// as long as reports follow.
    pub fn moved(&self) {
        if let Some(term) = &self.term {
            term.moved();
        }
    }

    /// The time without progress that is allowed, once it is over; never for a lease that needs no renewal.
    pub fn stuck(&self) -> Option<Duration> {
        self.term.as_ref().filter(|term| term.idle() >= term.stuck).map(|term| term.stuck)
    }

    /// Resolves shortly before another process could take the lease over; never for one that needs no renewal.
    pub async fn ending(&self) {
        match &self.term {
            Some(term) => term.ending().await,
            None => std::future::pending().await,
        }
    }

    /// Runs a call that changes a store, which does not check fencing tokens. The call is given up shortly before
    /// another process could take the lease over and write to the same records.
    pub async fn while_held<T>(&self, call: impl Future<Output = StageResult<T>> + Send) -> StageResult<T> {
        let done = tokio::select! {
            biased;
            () = self.ending() => Err(Fence::lost()),
            done = call => done,
        };
        if done.is_ok() {
            self.moved();
        }
        done
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lease").field(&self.fence).finish()
    }
}

/// Until when a lease that has to be renewed is certainly held. Clones share it.
#[derive(Debug, Clone)]
pub struct Term {
    until: Arc<Mutex<Instant>>,
    /// Cancelled when the lease is known to be lost.
    lost: CancellationToken,
    /// When the work under the lease last made progress. `None`: its holder has not reported any yet, and the lease is
    /// renewed without.
    moved: Arc<Mutex<Option<Instant>>>,
    /// Time before the end in which nothing more is sent.
    margin: Duration,
    /// The time without progress after which the lease is not renewed, so that another process takes the work over.
    stuck: Duration,
}

impl Term {
    /// A term that ends at `until`; nothing is sent within `margin` before. `stuck`: the time without progress after
    /// which it is not extended.
    pub fn new(until: Instant, margin: Duration, stuck: Duration) -> Self {
        let (until, lost) = (Arc::new(Mutex::new(until)), CancellationToken::new());
        Self { until, lost, moved: Arc::default(), margin, stuck }
    }

    /// The work under the lease makes progress; see [`Lease::moved`].
    pub fn moved(&self) {
        *self.moved.lock() = Some(Instant::now());
    }

    /// How long the work under the lease has made no progress; zero if its holder reports none.
    fn idle(&self) -> Duration {
        self.moved.lock().map_or(Duration::ZERO, |moved| moved.elapsed())
    }

    /// Whether the work under the lease makes no progress any more. The margin is for a holder that notices it by itself,
    /// and ends the work in order.
    pub fn is_stuck(&self) -> bool {
        self.idle() >= self.stuck + self.margin
    }

    /// The lease was renewed.
    pub fn extend(&self, until: Instant) {
        let mut known = self.until.lock();
        *known = until.max(*known);
    }

    /// The lease was lost before the clock of this machine says so: it stands still while the machine is suspended, and
    /// the server's may have been set.
    pub fn end(&self) {
        self.lost.cancel();
    }

    /// Resolves when the margin before the end is reached. The clock also runs while the process is stopped.
    async fn ending(&self) {
        tokio::select! {
            () = self.lost.cancelled() => {}
            () = self.margin_reached() => {}
        }
    }

    async fn margin_reached(&self) {
        loop {
            let left = self.until.lock().saturating_duration_since(Instant::now());
            let Some(rest) = left.checked_sub(self.margin).filter(|rest| !rest.is_zero()) else { return };
            sleep(rest).await;
        }
    }
}

/// The holder of a lease that somebody else asked for; `None` inside: it cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held(pub Option<Running>);

impl From<Held> for StageError {
    fn from(Held(holder): Held) -> Self {
        let who = holder.map_or_else(String::new, |holder| {
            format!(" (process {}, since {})", holder.process, holder.since.format("%Y-%m-%dT%H:%M:%SZ"))
        });
        Self::local(STAGE, format!("another run is in progress{who}"))
            .hint("wait for it, or run with `--wait`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARGIN: Duration = Duration::from_secs(5);
    const STUCK: Duration = Duration::from_secs(1800);

    fn lease(term: Option<&Term>) -> Lease {
        Lease::new(Fence { epoch: 1 }, term.cloned(), Arc::new(()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_given_up_before_its_lease_ends() {
        let began = Instant::now();
        let term = Term::new(began + Duration::from_secs(45), MARGIN, STUCK);
        let lost = lease(Some(&term)).while_held(std::future::pending::<StageResult<()>>()).await;
        assert_eq!(lost.expect_err("given up").kind, ErrorKind::Fenced);
        assert_eq!(began.elapsed().as_secs(), 40);
        // Nothing is sent after that, however quick it is.
        assert!(lease(Some(&term)).while_held(async { Ok(()) }).await.is_err());
        term.extend(Instant::now() + Duration::from_secs(45));
        assert!(lease(Some(&term)).while_held(async { Ok(()) }).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_goes_on_while_its_lease_is_renewed() {
        let term = Term::new(Instant::now() + Duration::from_secs(45), MARGIN, STUCK);
        let renewed = term.clone();
        tokio::spawn(async move {
            for _ in 0..20 {
                sleep(Duration::from_secs(10)).await;
                renewed.extend(Instant::now() + Duration::from_secs(45));
            }
        });
        let call = async {
            sleep(Duration::from_secs(180)).await;
            Ok(())
        };
        assert!(lease(Some(&term)).while_held(call).await.is_ok());
        let endless = async {
            sleep(Duration::from_secs(1_000_000)).await;
            Ok(())
        };
        assert!(lease(None).while_held(endless).await.is_ok(), "the lock of a file needs no renewal");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_lease_ends_at_once_for_all_that_share_it() {
        let term = Term::new(Instant::now() + Duration::from_secs(45), MARGIN, STUCK);
        let (lease, began) = (lease(Some(&term)), Instant::now());
        let call = lease.while_held(std::future::pending::<StageResult<()>>());
        let (lost, ()) = tokio::join!(call, async {
            sleep(Duration::from_secs(1)).await;
            term.end();
        });
        assert_eq!((lost.expect_err("given up").kind, began.elapsed().as_secs()), (ErrorKind::Fenced, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_stuck_when_reports_of_progress_end() {
        let far = Instant::now() + STUCK * 1000;
        let (quiet, bounded) = (Term::new(far, MARGIN, STUCK), Term::new(far, MARGIN, STUCK));
        let lease = lease(Some(&bounded));
        lease.moved();
        for _ in 0..5 {
            sleep(STUCK * 9 / 10).await;
            assert!(!bounded.is_stuck());
            // A call that changes a store is progress.
            lease.while_held(async { Ok(()) }).await.expect("it is held");
        }
        sleep(STUCK).await;
        assert_eq!((lease.stuck(), bounded.is_stuck()), (Some(STUCK), false), "it may end by itself");
        assert!(lease.while_held(async { Err::<(), _>(StageError::local("store", "full")) }).await.is_err());
        sleep(MARGIN).await;
        assert!(bounded.is_stuck(), "a failed call is no progress");
        assert!(!quiet.is_stuck(), "nobody has reported progress, so nobody misses it");
    }
}
