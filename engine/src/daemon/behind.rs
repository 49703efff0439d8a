//! Counts how many commits projects are behind, beside their runs.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::handle::Handle;
use crate::sync;

/// Counts whenever something may have fallen behind, until `cancel`.
pub(super) async fn count(handle: Handle, cancel: CancellationToken) {
    let work = async {
        loop {
            handle.shared.lagging.worth_counting().await;
            let generation = Arc::clone(&handle.view().generation);
            for project in generation.projects.values().flatten() {
                // The service is busy or gone: the run says so, and the next one asks for a count again.
                if let Err(error) = sync::count_behind(project, &handle.shared.ledger).await {
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
