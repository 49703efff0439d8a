//! One writing run per ledger at a time: an operating-system lock that ends with its holder.

use std::fs::{File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use chrono::Utc;

use crate::model::{Running, StageError, StageResult};
use crate::private;
use crate::state::STAGE;
use crate::state_folder;

/// The right to write to a ledger and the places it describes. Dropping it gives it back; so does
/// the end of the process, however it comes.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

impl RunLock {
    /// Takes the lock, or returns its holder.
    pub fn try_take(ledger: &Path) -> StageResult<Result<Self, Option<Running>>> {
        let (mut file, path) = open(ledger)?;
        match file.try_lock() {
            Ok(()) => {
                sign(&mut file, &path)?;
                Ok(Ok(Self { _file: file }))
            }
            Err(TryLockError::WouldBlock) => Ok(Err(read_holder(&mut file))),
            Err(TryLockError::Error(error)) => Err(cannot(&path, error)),
        }
    }

    /// Takes the lock, waiting for its holder to end. Blocks.
    pub fn take(ledger: &Path) -> StageResult<Self> {
        let (mut file, path) = open(ledger)?;
        file.lock().map_err(|error| cannot(&path, error))?;
        sign(&mut file, &path)?;
        Ok(Self { _file: file })
    }

    /// The current holder of the lock. Does not take the lock, so a run may begin at any time.
    pub fn holder(ledger: &Path) -> Option<Running> {
        let mut file = File::open(lock_path(ledger)).ok()?;
        match file.try_lock_shared() {
            Ok(()) => None,
            Err(_) => read_holder(&mut file),
        }
    }
}

/// A daemon that serves a ledger.
pub(super) struct Serving {
    /// `None` where its record cannot be read.
    pub(super) daemon: Option<Running>,
}

/// The daemon that serves a ledger. A daemon keeps its record file next to the ledger locked while it runs.
pub(super) fn daemon_of(ledger: &Path) -> Option<Serving> {
    let mut file = File::open(with_suffix(ledger, ".daemon")).ok()?;
    match file.try_lock_shared() {
        Ok(()) => None,
        Err(_) => Some(Serving { daemon: read_holder(&mut file) }),
    }
}

fn lock_path(ledger: &Path) -> PathBuf {
    with_suffix(ledger, ".lock")
}

/// The ledger's path with a suffix.
pub(super) fn with_suffix(ledger: &Path, suffix: &str) -> PathBuf {
    let mut path = ledger.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}

fn open(ledger: &Path) -> StageResult<(File, PathBuf)> {
    let path = lock_path(ledger);
    if let Some(folder) = path.parent() {
        state_folder::make(folder).map_err(|error| cannot(&path, error))?;
    }
    let file = private::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| cannot(&path, error))?;
    Ok((file, path))
}

fn sign(file: &mut File, path: &Path) -> StageResult<()> {
    let holder = Running { process: std::process::id(), since: Utc::now() };
    let text = serde_json::to_vec(&holder).unwrap_or_default();
    private::rewrite(file, &text).map_err(|error| cannot(path, error))
}

fn read_holder(file: &mut File) -> Option<Running> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn cannot(path: &Path, error: io::Error) -> StageError {
    StageError::local(STAGE, format!("cannot lock `{}`", path.display()))
        .caused_by(error)
        .hint("make the ledger's folder writable and free some space on the disk")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Held;

    #[test]
    fn a_second_run_is_told_who_holds_the_lock() {
        let dir = tempfile::tempdir().expect("temp dir");
        let ledger = dir.path().join("state.db");
        let first = RunLock::try_take(&ledger).expect("io").expect("free");
        let holder = RunLock::try_take(&ledger).expect("io").expect_err("held").expect("signed");
        assert_eq!(holder.process, std::process::id());
        let message = StageError::from(Held(Some(holder))).message;
        assert!(message.starts_with("another run is in progress (process "), "{message}");
        drop(first);
        assert!(RunLock::try_take(&ledger).expect("io").is_ok());
    }
}
