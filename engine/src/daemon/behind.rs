//! How many commits projects are behind: asked aside, when a run has work that takes a while or
//! has left some undone.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::handle::Handle;
use crate::apply;

/// A run over what differs has so long before anybody counts what it has before it. Most are over by
/// then (a push of some files takes a fraction of a second), and need neither a walk nor a request.
const BEGUN: Duration = Duration::from_secs(2);

/// What may have fallen behind.
#[derive(Default)]
pub(super) struct Lagging {
    /// A run found something to do.
    pub(super) begun: Notify,
    /// A run ended and left something undone.
    pub(super) left: Notify,
}

/// Counts whenever something may have fallen behind, until `cancel`.
pub(super) async fn count(handle: Handle, cancel: CancellationToken) {
    let work = async {
        loop {
            handle.shared.lagging.worth_counting().await;
            let generation = Arc::clone(&handle.view().generation);
            for project in generation.projects.values().flatten() {
                // The service is busy or gone: the run says so, and the next one asks for a count again.
                if let Err(error) = apply::count_behind(project, &handle.shared.ledger).await {
                    tracing::debug!(project = project.name(), error = %error.one_line(), "cannot count commits");
                }
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = cancel.cancelled() => {}
    }
}

impl Lagging {
    /// Waits until a count is worth its cost.
    async fn worth_counting(&self) {
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
        let lagging = Lagging::default();
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
