//! The threads on which repositories are read.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::open::{Access, Purpose, Reader};
use crate::model::{ErrorKind, StageError, StageResult};

/// Runs blocking work on a repository; a panic in it is a bug of ours, not the end of the program.
pub(in crate::source) async fn blocking<T, F>(access: &Access, work: F) -> StageResult<T>
where
    T: Send + 'static,
    F: FnOnce() -> StageResult<T> + Send + 'static,
{
    access.runtime.reading.run(work).await.unwrap_or_else(|error| Err(broken(&access.stage, error)))
}

pub(super) fn broken(stage: &str, error: impl std::error::Error + Send + Sync + 'static) -> StageError {
    StageError::new(stage, ErrorKind::Bug, "reading the repository broke off").caused_by(error)
}

/// Runs `work` on the repository in the folder `path`, on a blocking thread. `work` is cancelled by `cancel`,
/// and when the returned future is dropped.
pub(in crate::source) async fn with_reader<T, F>(
    access: &Arc<Access>,
    cancel: &CancellationToken,
    name: &str,
    path: &str,
    work: F,
) -> StageResult<T>
where
    T: Send + 'static,
    F: FnOnce(&Reader, &CancellationToken) -> StageResult<T> + Send + 'static,
{
    let (handed, name, path) = (Arc::clone(access), name.to_owned(), path.to_owned());
    let stop = cancel.child_token();
    let _stop_when_dropped = stop.clone().drop_guard();
    let inner = stop.clone();
    let work = move || work(&Reader::open_named(&handed, &name, &path, Purpose::Walk)?, &inner);
    tokio::select! {
        done = blocking(access, work) => done,
        () = stop.cancelled() => Err(StageError::cancelled(&access.stage)),
    }
}
