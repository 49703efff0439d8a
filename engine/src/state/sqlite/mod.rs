//! The state in an SQLite file, the ledger, and the vector cache in another.
//!
//! Methods of [`SqliteState`] block; async callers go through [`SqliteState::call`].

mod adopt;
mod answers;
mod explain;
mod files;
mod intents;
mod lock;
mod projects;
mod repositories;
mod runs;
mod schema;
mod selected;
mod status;
mod upgrade;
mod vector_cache;
mod verify;
mod watch;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, ffi};

use crate::blocking::Lane;
use crate::model::{StageError, StageResult};
use crate::private;
use crate::sqlite::{Unlocked, copy_in_memory, open_to_read, use_wal};
use crate::state_folder;

pub use lock::RunLock;
pub(crate) use lock::rewrite;
pub use vector_cache::SqliteVectorCache;
pub use watch::Moment;
use watch::Watch;

/// A project by its number and its name: rows hang on the number, open work outlives it by the name.
pub type ProjectKey<'a> = (i64, &'a str);

/// The name that errors of the ledger carry instead of a stage's.
pub(crate) const STAGE: &str = "ledger";

/// How long to wait for another process's short transaction.
const BUSY: Duration = Duration::from_secs(10);
/// Concurrent calls: one running, one queued.
const CALLS: usize = 2;

/// The ledger.
#[derive(Debug)]
pub struct SqliteState {
    conn: Mutex<Connection>,
    path: PathBuf,
    /// Where the file could only be opened without locks.
    unlocked: Option<Unlocked>,
    watch: OnceLock<Watch>,
    calls: Lane,
}

impl SqliteState {
    /// Opens the ledger for writing; creates or migrates it where needed.
    ///
    /// Fails, and changes nothing, on a newer ledger, a damaged one, a database that is none, or a
    /// folder that cannot be written.
    /// A ledger of an older version is copied before, and left alone while another run or a daemon is
    /// at work on it.
    pub fn open(path: &Path) -> StageResult<Self> {
        Self::open_for(path, None)
    }

    /// Opens for a caller that may hold the run lock.
    fn open_for(path: &Path, held: Option<&RunLock>) -> StageResult<Self> {
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
    pub fn open_read_only(path: &Path) -> StageResult<Option<Self>> {
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
    pub fn in_memory() -> StageResult<Self> {
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
        Self {
            conn: Mutex::new(conn),
            path: path.to_owned(),
            unlocked: None,
            watch: OnceLock::new(),
            calls: Lane::of(CALLS),
        }
    }

    /// The ledger's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs blocking work on the ledger off the async executor.
    pub async fn call<T, F>(self: &Arc<Self>, work: F) -> StageResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&SqliteState) -> StageResult<T> + Send + 'static,
    {
        let ledger = Arc::clone(self);
        self.calls.run(move || work(&ledger)).await.map_err(|error| {
            StageError::new(STAGE, crate::model::ErrorKind::Bug, "a ledger call panicked").caused_by(error)
        })?
    }

    /// Grows with every change of what the ledger says is indexed; a saved plan rests on it.
    pub fn revision(&self) -> StageResult<i64> {
        self.read("read the revision", |conn| {
            conn.query_row("SELECT value FROM counters WHERE name = 'revision'", [], |row| row.get(0))
        })
    }

    /// A read.
    fn read<T>(&self, what: &str, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> StageResult<T> {
        let result = work(&self.lock());
        if self.unlocked.as_ref().is_some_and(Unlocked::was_changed) {
            let message = format!("`{}` was changed while it was read", self.path.display());
            return Err(StageError::local(STAGE, message).hint("run the command again"));
        }
        result.map_err(|error| self.failed(what, error))
    }

    /// One transaction: all of `work`, durably, or nothing of it.
    fn write<T>(
        &self,
        what: &str,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
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
    pub fn watch(&self, lets: impl Fn(&str, Moment) -> bool + Send + Sync + 'static) {
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
        self.conn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, what: &str, error: rusqlite::Error) -> StageError {
        let hint = match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => {
                "free some space on the disk and run again; nothing is lost"
            }
            Some(rusqlite::ErrorCode::ReadOnly | rusqlite::ErrorCode::PermissionDenied) => {
                "make the ledger and its folder writable"
            }
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => DAMAGED,
            _ => "see the cause; the next run continues where this one stopped",
        };
        StageError::local(STAGE, format!("cannot {what} in `{}`", self.path.display()))
            .caused_by(error)
            .hint(hint)
    }
}

/// Counts a change of what is indexed.
fn touch(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    tx.execute("UPDATE counters SET value = value + 1 WHERE name = 'revision'", []).map(drop)
}

/// A timestamp as the ledger writes it.
pub(crate) fn timestamp(now: chrono::DateTime<chrono::Utc>) -> String {
    now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

const DAMAGED: &str = "the ledger is damaged. Restore it from a backup, or move it aside: the next `reposync apply` \
    then reads back what the stores hold and embeds nothing that it finds there";

fn cannot_open(path: &Path, error: rusqlite::Error) -> StageError {
    let hint = match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => DAMAGED,
        Some(rusqlite::ErrorCode::DiskFull) => "free some space on the disk",
        Some(rusqlite::ErrorCode::DatabaseBusy) => "another process holds the ledger; try again",
        _ => "make the file and its folder readable and writable, or set another path with `[engine] state`",
    };
    StageError::local(STAGE, format!("cannot open `{}`", path.display())).caused_by(error).hint(hint)
}

fn cannot_read(path: &Path, error: rusqlite::Error) -> StageError {
    let wants_access = matches!(
        error.sqlite_error_code(),
        Some(rusqlite::ErrorCode::CannotOpen | rusqlite::ErrorCode::ReadOnly)
    );
    let error = cannot_open(path, error);
    if wants_access {
        error.hint(
            "make it readable, with its `-wal` and `-shm` where these are there; on a read-only medium, where \
             only `-wal` is there, copy the folder to where you may write",
        )
    } else {
        error
    }
}

fn refuse(path: &Path, unusable: &schema::Unusable) -> StageError {
    match unusable {
        schema::Unusable::Newer { found, known } => StageError::local(
            STAGE,
            format!(
                "`{}` was written by a newer RepoSync (ledger version {found}, this program knows {known})",
                path.display()
            ),
        )
        .hint("use the newer program; this one changed nothing"),
        schema::Unusable::Foreign => {
            StageError::local(STAGE, format!("`{}` is an SQLite database, but not a ledger", path.display()))
                .hint("set another path with `[engine] state`; nothing was changed")
        }
    }
}
