//! Decides when to count the commits that projects are behind. A count costs a walk of the history
//! or a request, so it is made only when a run takes a while or leaves something undone.

use std::time::Duration;

use tokio::sync::Notify;

/// How long a run must have been working before commits are counted. Most runs (a push of a few
/// files) are over by then.
const MIN_RUNNING: Duration = Duration::from_secs(2);

/// Signals that a project may have fallen behind.
#[derive(Default)]
pub(super) struct LagTracker {
    /// A run found something to do.
    pub(super) begun: Notify,
    /// A run ended and left something undone.
    pub(super) left: Notify,
}

impl LagTracker {
    /// Waits until a count is worth its cost.
    pub(super) async fn worth_counting(&self) {
        let takes_a_while = async {
            self.begun.notified().await;
            tokio::time::sleep(MIN_RUNNING).await;
        };
        tokio::select! {
            () = takes_a_while => {}
            () = self.left.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_left_is_counted_at_once_and_what_has_begun_after_a_while() {
        let lagging = LagTracker::default();
        let now = Instant::now();
        assert!(timeout(MIN_RUNNING * 10, lagging.worth_counting()).await.is_err(), "nothing happened");
        lagging.left.notify_one();
        lagging.worth_counting().await;
        assert_eq!(now.elapsed(), MIN_RUNNING * 10);
        lagging.begun.notify_one();
        lagging.worth_counting().await;
        assert_eq!(now.elapsed(), MIN_RUNNING * 11);
        // Both signals at once: the count does not wait for the slower one.
        lagging.begun.notify_one();
        lagging.left.notify_one();
        lagging.worth_counting().await;
        assert_eq!(now.elapsed(), MIN_RUNNING * 11);
    }
}
