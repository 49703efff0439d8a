//! How many commits projects are behind: asked aside, when a run has work that takes a while or
//! has left some undone.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::handle::Handle;
use crate::apply;

/// A run that is over by then needs no count, and a service no request.
const SETTLE: Duration = Duration::from_secs(2);

/// Counts whenever something may have fallen behind, until `cancel`.
pub(super) async fn count(handle: Handle, cancel: CancellationToken) {
    let work = async {
        loop {
            handle.shared.lagging.notified().await;
            tokio::time::sleep(SETTLE).await;
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
