//! Counts, concurrently with runs, how many commits projects are behind.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::handle::Handle;
use crate::sync;

/// Counts each time [`LagTracker`] reports that it is worthwhile, until `cancel`.
pub(super) async fn count(handle: Handle, cancel: CancellationToken) {
    let work = async {
        loop {
            handle.shared.lagging.worth_counting().await;
            let generation = Arc::clone(&handle.view().generation);
            for project in generation.projects.values().flatten() {
                // Not an error here: the run reports an unreachable service, and the next run
                // triggers another count.
                if let Err(error) = sync::count_behind(project, &*handle.shared.state).await {
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
