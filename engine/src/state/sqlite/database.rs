//! The ledger's file: opened, migrated or refused; reads and transactions on its one connection. Blocks.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, OpenFlags, TransactionBehavior, ffi};

use super::error::{cannot_open, cannot_read, refuse};
use super::lock::RunLock;
use super::schema::BUSY;
use super::watch::{Moment, Watch};
use super::{error, schema, upgrade};
use crate::model::{StageError, StageResult};
use crate::private;
use crate::sqlite::{Unlocked, copy_in_memory, open_to_read, use_wal};
use crate::state::STAGE;
use crate::state_folder;

/// Statements that stay prepared, more than there are.
const STATEMENTS: usize = 128;

/// The connection to a ledger.
#[derive(Debug)]
pub(super) struct Database {
    conn: Mutex<Connection>,
    path: PathBuf,
    /// Where the file could only be opened without locks.
    unlocked: Option<Unlocked>,
    watch: OnceLock<Watch>,
}

impl Database {
    /// Opens the ledger for writing; creates or migrates it where needed.
    ///
    /// Fails, and changes nothing, on a newer ledger, a damaged one, a database that is none, or a
    /// folder that cannot be written.
    /// A ledger of an older version is copied before, and left alone while another run or a daemon is
    /// at work on it. `held`: the run lock, if the caller has it.
    pub(super) fn open(path: &Path, held: Option<&RunLock>) -> StageResult<Self> {
        if let Some(folder) = path.parent() {
            state_folder::make(folder).map_err(|error| {
                StageError::local(STAGE, format!("cannot create the folder `{}`", folder.display()))
                    .caused_by(error)
                    .hint("make it writable, or set another path with `[engine] state`")
            })?;
        }
        let keep_private = || {
            private::create(path)?;
            private::narrow_state(path)
        };
        keep_private().map_err(|error| {
            StageError::local(STAGE, format!("cannot make `{}` private", path.display()))
                .caused_by(error)
                .hint("make it writable, or set another path with `[engine] state`")
        })?;
        let conn = Connection::open(path).map_err(|error| cannot_open(path, error))?;
        conn.busy_timeout(BUSY).map_err(|error| cannot_open(path, error))?;
        let _upgrading = upgrade::prepare(&conn, path, held)?;
        Self::prepare(conn, path)
    }

    /// Opens an existing ledger for reading: no lock, and nothing is written. An older one is read
    /// as a copy in memory that is migrated: an older program may be at work on the file, and would
    /// refuse a newer one. On a read-only medium, and in another user's folder, it is read without
    /// locks. `None` where there is none yet.
    pub(super) fn open_read_only(path: &Path) -> StageResult<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let opened = open_to_read(path, OpenFlags::SQLITE_OPEN_READ_ONLY, BUSY);
        let (conn, unlocked) = opened.map_err(|error| cannot_read(path, error))?;
        match schema::inspect(&conn).map_err(|error| cannot_open(path, error))? {
            None if schema::is_older(&conn).map_err(|error| cannot_open(path, error))? => {
                let copied = copy_in_memory(&conn, BUSY).map_err(|error| cannot_open(path, error))?;
                Self::prepare(copied, path).map(Some)
            }
            None => Ok(Some(Self { unlocked, ..Self::over(conn, path) })),
            Some(unusable) => Err(refuse(path, &unusable)),
        }
    }

    /// A ledger in memory, for tests.
    pub(super) fn in_memory() -> StageResult<Self> {
        let path = Path::new(":memory:");
        let conn = Connection::open_in_memory().map_err(|error| cannot_open(path, error))?;
        Self::prepare(conn, path)
    }

    fn prepare(mut conn: Connection, path: &Path) -> StageResult<Self> {
        let prepare = |conn: &mut Connection| {
            conn.busy_timeout(BUSY)?;
            // Before anything is written: turning write-ahead logging on changes the file.
            if let Some(unusable) = schema::inspect(conn)? {
                return Ok(Err(unusable));
            }
            use_wal(conn, BUSY)?;
            // An intent must be on the disk before the upsert it announces is sent.
            conn.pragma_update(None, "synchronous", "FULL")?;
            conn.pragma_update(None, "foreign_keys", true)?;
            schema::migrate(conn)
        };
        match prepare(&mut conn).map_err(|error| cannot_open(path, error))? {
            Ok(()) => Ok(Self::over(conn, path)),
            Err(unusable) => Err(refuse(path, &unusable)),
        }
    }

    fn over(conn: Connection, path: &Path) -> Self {
        conn.set_prepared_statement_cache_capacity(STATEMENTS);
        Self { conn: Mutex::new(conn), path: path.to_owned(), unlocked: None, watch: OnceLock::new() }
    }

    /// A read, of one snapshot.
    pub(super) fn read<T>(
        &self,
        what: &str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> StageResult<T> {
        let result = (|| {
            let conn = self.lock();
            let snapshot = conn.unchecked_transaction()?;
            work(&snapshot)
        })();
        if self.unlocked.as_ref().is_some_and(Unlocked::was_changed) {
            let message = format!("`{}` was changed while it was read", self.path.display());
            return Err(StageError::local(STAGE, message).hint("run the command again"));
        }
        result.map_err(|error| self.failed(what, error))
    }

    /// One transaction: all of `work`, durably, or nothing of it.
    pub(super) fn write<T>(
        &self,
        what: &str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> StageResult<T> {
        let mut conn = self.lock();
        let run = |conn: &mut Connection| {
            self.pass(what, Moment::Before)?;
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&tx)?;
            tx.commit()?;
            self.pass(what, Moment::After)?;
            Ok(value)
        };
        run(&mut conn).map_err(|error| self.failed(what, error))
    }

    /// Asks `lets` before and after each transaction, by its name; where it says no, the
    /// transaction's caller gets the error of a full disk. The first watcher stays.
    pub(super) fn watch(&self, lets: impl Fn(&str, Moment) -> bool + Send + Sync + 'static) {
        self.watch.get_or_init(|| Watch::new(lets));
    }

    /// An error, as of a full disk, where the watcher lets the transaction fail.
    fn pass(&self, what: &str, moment: Moment) -> rusqlite::Result<()> {
        if self.watch.get().is_none_or(|watch| watch.lets(what, moment)) {
            return Ok(());
        }
        Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), None))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic in the middle of a transaction rolled it back; the connection is sound.
        self.conn.lock()
    }

    fn failed(&self, what: &str, error: rusqlite::Error) -> StageError {
        error::failed(&self.path, what, error)
    }
}
