//! When a count of the commits that projects are behind is worth its cost: a run works for a while, or has
//! left something undone.

use std::time::Duration;

use tokio::sync::Notify;

/// How long a run works before commits are counted. Most runs are over by then (a push of some files
/// takes a fraction of a second), and need neither a walk nor a request.
const BEGUN: Duration = Duration::from_secs(2);

/// What may have fallen behind.
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
            tokio::time::sleep(BEGUN).await;
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
        assert!(timeout(BEGUN * 10, lagging.worth_counting()).await.is_err(), "nothing happened");
        lagging.left.notify_one();
        lagging.worth_counting().await;
        assert_eq!(now.elapsed(), BEGUN * 10);
        lagging.begun.notify_one();
        lagging.worth_counting().await;
        assert_eq!(now.elapsed(), BEGUN * 11);
        // Both: it does not wait for the one that takes longer.
        lagging.begun.notify_one();
        lagging.left.notify_one();
        lagging.worth_counting().await;
        assert_eq!(now.elapsed(), BEGUN * 11);
    }
}
