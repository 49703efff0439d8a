//! Waiting for services, which is not a lack of progress.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::model::{Event, EventSink, HumanDuration, StageError};
use crate::state::Lease;

/// How often a lease is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// The latest end of the waits that stages have announced. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct StageWaits(Arc<Mutex<Option<Instant>>>);

impl StageWaits {
    /// A sink that takes note of waits, and passes all events on.
    #[must_use]
    pub fn watching(&self, events: EventSink) -> EventSink {
        let waits = self.clone();
        EventSink::new(move |event| {
            if let Event::Waiting { seconds, .. } = event {
                let wait = Duration::try_from_secs_f64(seconds).unwrap_or_default();
                let until = Instant::now().checked_add(wait);
                let mut known = waits.0.lock();
                *known = until.max(*known);
            }
            events.emit(event);
        })
    }

    /// Resolves when the work under a lease has made no progress for longer than its settings allow, although no stage
    /// waits. The lease of a process that does not even come to this is not renewed any more.
    pub(super) async fn stuck(&self, lease: &Lease) -> StageError {
        loop {
            sleep(LOOK).await;
            if self.any() {
                lease.moved();
            } else if let Some(limit) = lease.stuck() {
                let message = format!("no progress within {}", HumanDuration(limit));
                return StageError::transient("engine", message)
                    .hint("see the log of this process; `[workers] stuck` is the time that is allowed");
            }
        }
    }

    /// True while a stage waits.
    fn any(&self) -> bool {
        self.0.lock().is_some_and(|until| until > Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::state::{Fence, Term};

    const STUCK: Duration = Duration::from_secs(1800);

    /// A lease whose holder has reported progress now.
    fn lease() -> Lease {
        let far = Instant::now() + STUCK * 100;
        let term = Term::new(far, Duration::ZERO, STUCK);
        term.moved();
        Lease::new(Fence { epoch: 1 }, Some(term), Arc::new(()))
    }

    #[tokio::test(start_paused = true)]
    async fn work_without_progress_is_stuck() {
        let began = Instant::now();
        let error = StageWaits::default().stuck(&lease()).await;
        assert_eq!(error.message, "no progress within 30m");
        assert_eq!(began.elapsed(), STUCK);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_a_wait_does_not_count() {
        let began = Instant::now();
        let waits = StageWaits::default();
        let events = waits.watching(EventSink::none());
        for _ in 0..10 {
            events.waiting("ada", STUCK * 2, "the service asked for a pause");
        }
        waits.stuck(&lease()).await;
        assert_eq!(began.elapsed() + LOOK, STUCK * 3, "counted from the last look that found it waiting");
    }
}
