//! The state over one ledger: calls on a bounded pool, and the lock.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rusqlite::Connection;

use super::database::Database;
use super::lock::RunLock;
use super::watch::Moment;
use crate::blocking::BlockingPool;
use crate::model::{ErrorKind, Running, StageError, StageResult};
use crate::state::STAGE;
use crate::state::fence::{Fence, Held, Lease};

/// Concurrent calls: one running, one queued.
const CALLS: usize = 2;
/// The epoch of every lease. The lock cannot be lost while its process lives, so no other one ever writes.
const EPOCH: i64 = 1;

/// The state in an SQLite file.
#[derive(Debug)]
pub struct SqliteState {
    database: Arc<Database>,
    calls: BlockingPool,
    /// The ledger's file, whose lock is the lease; `None`: there is none.
    path: Option<PathBuf>,
    /// The run lock, shared by the leases of this process.
    lock: Arc<Mutex<Weak<RunLock>>>,
}

impl SqliteState {
    /// Opens a ledger for writing; creates or migrates it where needed. Blocks.
    ///
    /// Fails, and changes nothing, on a newer ledger, a damaged one, a database that is none, or a folder that
    /// cannot be written. A ledger of an older version is copied before, and left alone while another run or a
    /// daemon is at work on it.
    pub fn open(path: &Path) -> StageResult<Self> {
        Ok(Self::over(Database::open(path, None)?, Some(path)))
    }

    /// Opens a ledger for a caller that has the run lock, which becomes its lease. Blocks.
    pub fn open_locked(path: &Path, lock: RunLock) -> StageResult<(Self, Lease)> {
        let state = Self::over(Database::open(path, Some(&lock))?, Some(path));
        let lock = Arc::new(lock);
        *state.lock.lock() = Arc::downgrade(&lock);
        Ok((state, lease(lock)))
    }

    /// Opens an existing ledger for reading: no lock, and nothing is written. An older one is read as a copy in
    /// memory that is migrated: an older program may be at work on the file, and would refuse a newer one. On a
    /// read-only medium, and in another user's folder, it is read without locks. An empty state if there is no
    /// ledger yet. Blocks.
    pub fn open_read_only(path: &Path) -> StageResult<Self> {
        let database = match Database::open_read_only(path)? {
            Some(database) => database,
            None => Database::in_memory()?,
        };
        Ok(Self::over(database, Some(path)))
    }

    /// An empty state in memory.
    pub fn in_memory() -> StageResult<Self> {
        Ok(Self::over(Database::in_memory()?, None))
    }

    /// A lease of this process; the holder if another one has the lock.
    pub(super) async fn take_lease(&self) -> StageResult<Result<Lease, Held>> {
        let Some(path) = self.path.clone() else {
            return Ok(Ok(lease(Arc::new(()))));
        };
        let shared = Arc::clone(&self.lock);
        self.call(move |_| {
            let mut shared = shared.lock();
            if let Some(lock) = shared.upgrade() {
                return Ok(Ok(lease(lock)));
            }
            Ok(match RunLock::try_take(&path)? {
                Ok(lock) => {
                    let lock = Arc::new(lock);
                    *shared = Arc::downgrade(&lock);
                    Ok(lease(lock))
                }
                Err(holder) => Err(Held(holder)),
            })
        })
        .await
    }

    /// The process that has the lock.
    pub(super) async fn lock_holder(&self) -> StageResult<Option<Running>> {
        let path = self.path.clone();
        self.call(move |_| Ok(path.and_then(|path| RunLock::holder(&path)))).await
    }

    /// Asks `lets` before and after each transaction, by its name; if it returns false, the transaction's caller
    /// gets the error of a full disk. Only the first watcher is used.
    pub fn watch(&self, lets: impl Fn(&str, Moment) -> bool + Send + Sync + 'static) {
        self.database.watch(lets);
    }

    fn over(database: Database, path: Option<&Path>) -> Self {
        Self {
            database: Arc::new(database),
            calls: BlockingPool::of(CALLS),
            path: path.map(Path::to_owned),
            lock: Arc::default(),
        }
    }

    /// A read, of one snapshot. `what` completes "cannot …" in the error.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> StageResult<T> {
        self.call(move |database| database.read(what, work)).await
    }

    /// One transaction of the lease's holder: all of `work`, durably, or nothing of it.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        fence: Fence,
        what: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> StageResult<T> {
        if fence.epoch != EPOCH {
            return Err(Fence::lost());
        }
        self.call(move |database| database.write(what, work)).await
    }

    /// Like `write`, without a transaction where `is_needed` finds that there is nothing to write.
    pub(super) async fn write_if(
        &self,
        fence: Fence,
        what: &'static str,
        is_needed: impl FnOnce(&Connection) -> rusqlite::Result<bool> + Send + 'static,
        work: impl FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static,
    ) -> StageResult<()> {
        if fence.epoch != EPOCH {
            return Err(Fence::lost());
        }
        let needed = move |database: &Database| {
            if database.read(what, is_needed)? { database.write(what, work) } else { Ok(()) }
        };
        self.call(needed).await
    }

    /// Runs blocking work off the executor.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> StageResult<T> + Send + 'static,
    ) -> StageResult<T> {
        let database = Arc::clone(&self.database);
        self.calls.run(move || work(&database)).await.map_err(|error| {
            StageError::new(STAGE, ErrorKind::Bug, "a call of the ledger panicked").caused_by(error)
        })?
    }
}

fn lease(held: Arc<dyn std::any::Any + Send + Sync>) -> Lease {
    Lease::new(Fence { epoch: EPOCH }, None, held)
}
