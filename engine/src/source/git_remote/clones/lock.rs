//! Locks of the operating system on files: they end with their holder.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::model::{StageError, StageResult};
use crate::private;
use crate::source::git_remote::disk::cannot_write;

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Takes an exclusive lock on a file; waits for all other holders.
pub(super) async fn alone(stage: &str, path: &Path, cancel: &CancellationToken) -> StageResult<File> {
    wait(stage, path, cancel, File::try_lock).await
}

/// Takes a shared lock on a file; waits for an exclusive holder.
pub(super) async fn shared(stage: &str, path: &Path, cancel: &CancellationToken) -> StageResult<File> {
    wait(stage, path, cancel, File::try_lock_shared).await
}

/// Locks a file for its only holder; none where somebody else holds it.
pub(super) fn try_alone(path: &Path) -> Option<File> {
    let file = open(path).ok()?;
    file.try_lock().ok()?;
    Some(file)
}

/// Tries until it succeeds. A thread is not held meanwhile.
async fn wait(
    stage: &str,
    path: &Path,
    cancel: &CancellationToken,
    attempt: fn(&File) -> Result<(), TryLockError>,
) -> StageResult<File> {
    let file = open(path).map_err(|error| cannot_write(stage, path, error))?;
    loop {
        match attempt(&file) {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => {
                let message = format!("cannot lock `{}`", path.display());
                let hint = "set `cache` in [engine] to a folder of a file system that has locks";
                return Err(StageError::local(stage, message).caused_by(error).hint(hint));
            }
            Err(TryLockError::WouldBlock) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = cancel.cancelled() => return Err(StageError::cancelled(stage)),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    private::options().read(true).write(true).create(true).truncate(false).open(path)
}
