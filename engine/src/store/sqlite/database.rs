//! The database file: opening, creating and checking it, connections, and error messages.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use crate::blocking::BlockingPool;
use crate::model::{StageError, StageResult};
use crate::private;
use crate::sqlite::{Unlocked, open_to_read, use_wal};
use crate::state_folder;

use super::codes::Large;
use super::failed::Failed;
use super::schema::{self, VERSION, is_new, version};

/// How long a writer waits for another process's transaction. Ours take well under a second.
const BUSY: Duration = Duration::from_secs(30);
/// Page size in bytes. 8 KiB hold seven vectors of 256 components with little waste.
const PAGE: u32 = 8192;
/// Pages of the write-ahead log after which they are copied to the file: 192 MB. Pages that are written
/// often are copied once.
const CHECKPOINT: u32 = 24_000;
/// Maximum number of concurrent readers, each with a pooled connection.
const READERS: usize = 4;
/// Maximum number of threads for writes: one writes, and the next waits for the connection.
const WRITERS: usize = 2;

/// The file of an embedded store. Opened on first use and shared by all calls.
#[derive(Debug)]
pub(super) struct Database {
    stage: String,
    path: PathBuf,
    writer: Mutex<Option<Connection>>,
    readers: Mutex<Vec<Reader>>,
    /// Maximum number of pooled connections: each reader may scan on all cores.
    most_readers: usize,
    /// When vectors get codes.
    pub(super) large: Large,
    /// Concurrency limits for calls of [`Database::write`] and [`Database::read`].
    pub(super) writes: BlockingPool,
    pub(super) reads: BlockingPool,
}

/// A read-only connection.
#[derive(Debug)]
struct Reader {
    connection: Connection,
    /// Why the index could not be upgraded, if it has an older version.
    outdated: Option<String>,
    /// Set if the file could only be opened without locks.
    unlocked: Option<Unlocked>,
}

impl Database {
    pub(super) fn new(stage: String, path: PathBuf, large: Large) -> Arc<Self> {
        Arc::new(Self {
            large,
            stage,
            path,
            writer: Mutex::new(None),
            readers: Mutex::new(Vec::new()),
            most_readers: READERS + threads(),
            writes: BlockingPool::of(WRITERS),
            reads: BlockingPool::of(READERS),
        })
    }

    pub(super) fn stage(&self) -> &str {
        &self.stage
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` in one transaction, which is durable once this returns `Ok`. Creates the file if
    /// it is missing. Blocks.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Failed>,
    ) -> StageResult<T> {
        let mut writer = self.writer.lock();
        let connection = match &mut *writer {
            Some(connection) => connection,
            empty => empty.insert(self.create()?),
        };
        let result = (|| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        })();
        if result.is_err() {
            // A full disk or a replaced file may leave the connection unusable; open a new one next
            // time.
            *writer = None;
        }
        result.map_err(|error| self.describe("write to", error))
    }

    /// Runs `work` on a consistent snapshot of the file; `None` if there is no file. Blocks.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Failed>,
    ) -> StageResult<Option<T>> {
        self.read_any(|transaction, _| work(transaction))
    }

    /// Like [`Database::read`]. `work` also gets the reason why the index has an older version, if it has one:
    /// it cannot be written, or there is no space.
    pub(super) fn read_any<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>, Option<&str>) -> Result<T, Failed>,
    ) -> StageResult<Option<T>> {
        let pooled = self.readers.lock().pop();
        let mut reader = match pooled {
            Some(reader) => reader,
            None => match self.open_reader()? {
                Some(reader) => reader,
                None => return Ok(None),
            },
        };
        let result = {
            let Reader { connection, outdated, .. } = &mut reader;
            connection
                .transaction()
                .map_err(Failed::from)
                .and_then(|transaction| work(&transaction, outdated.as_deref()))
        };
        if reader.unlocked.as_ref().is_some_and(Unlocked::was_changed) {
            return Err(StageError::transient(
                &self.stage,
                format!("`{}` was changed while it was read", self.path.display()),
            )
            .hint("run the command again"));
        }
        match result {
            Ok(value) => {
                let mut readers = self.readers.lock();
                // An index that could not be upgraded is looked at again.
                if readers.len() < self.most_readers && reader.outdated.is_none() {
                    readers.push(reader);
                }
                Ok(Some(value))
            }
            Err(error) => Err(self.describe("read", error)),
        }
    }

    /// Runs `work` on a connection that helps a reader; `None` if there is none.
    pub(super) fn help<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Failed>,
    ) -> StageResult<Option<T>> {
        self.read(|transaction| work(transaction))
    }

    fn create(&self) -> StageResult<Connection> {
        if let Some(folder) = self.path.parent() {
            state_folder::make(folder).map_err(|error| {
                StageError::local(&self.stage, format!("cannot create the folder `{}`", folder.display()))
                    .hint("check its permissions, or set another `path`")
                    .caused_by(error)
            })?;
        }
        private::create(&self.path).and_then(|()| private::narrow_database(&self.path)).map_err(|error| {
            StageError::local(&self.stage, format!("cannot make `{}` private", self.path.display()))
                .hint("check its permissions, or set another `path`")
                .caused_by(error)
        })?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || -> Result<Connection, Failed> {
            let mut connection = Connection::open_with_flags(&self.path, flags)?;
            connection.busy_timeout(BUSY)?;
            // Checked first, so that a file of another program is not modified.
            if !is_new(&connection)? {
                version(&connection)?;
            }
            connection.pragma_update(None, "page_size", PAGE)?; // no effect on an existing file
            use_wal(&connection, BUSY)?;
            // FULL: a commit is on disk when it returns, as the trait promises.
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT)?;
            // Deleted or redacted text must not stay readable in free pages.
            connection.pragma_update(None, "secure_delete", "ON")?;
            connection.set_prepared_statement_cache_capacity(48);
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if is_new(&transaction)? {
                schema::create(&transaction)?;
            } else if version(&transaction)? < VERSION {
                schema::upgrade(&transaction, self.large)?;
            }
            transaction.commit()?;
            Ok(connection)
        };
        open().map_err(|error| self.describe("open", error))
    }

    fn open_reader(&self) -> StageResult<Option<Reader>> {
        if !self.path.try_exists().unwrap_or(true) {
            return Ok(None);
        }
        let open = || -> Result<Option<Reader>, Failed> {
            let (connection, unlocked) = open_to_read(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE, BUSY)?;
            connection.pragma_update(None, "query_only", true)?;
            connection.set_prepared_statement_cache_capacity(48);
            if is_new(&connection)? {
                // Another process ended while it created the file; the next writer completes it.
                return Ok(None);
            }
            let mut outdated = None;
            if version(&connection)? < VERSION {
                outdated = self.upgrade().err().map(|error| error.message);
            }
            Ok(Some(Reader { connection, outdated, unlocked }))
        };
        open().map_err(|error| self.describe("open", error))
    }

    /// Upgrades the file, as opening it for writing does.
    fn upgrade(&self) -> StageResult<()> {
        self.write(|_| Ok(()))
    }

    fn describe(&self, doing: &str, failed: Failed) -> StageError {
        let path = self.path.display();
        let stage = &self.stage;
        let error = match failed {
            Failed::Stage(error) => return error,
            Failed::Foreign => {
                return StageError::misconfigured(stage, format!("`{path}` is not a RepoSync index"))
                    .hint("set another `path`; this file belongs to another program and is left as it is");
            }
            Failed::Newer(version) => {
                return StageError::misconfigured(
                    stage,
                    format!(
                        "`{path}` was written by a newer RepoSync (format {version}; this one knows {VERSION})"
                    ),
                )
                .hint("update RepoSync, or set another `path`");
            }
            Failed::Sqlite(error) => error,
        };
        let code = error.sqlite_error_code();
        let described = match code {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                StageError::transient(stage, format!("`{path}` is locked by another process"))
                    .hint("wait for it to end, then run the command again")
            }
            Some(ErrorCode::DiskFull) => {
                StageError::local(stage, format!("no space left on the disk of `{path}`"))
                    .hint("free some space and run the command again; completed work is kept")
            }
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                StageError::local(stage, format!("`{path}` is not writable"))
                    .hint("check the permissions of the file and its folder, or set another `path`")
            }
            Some(ErrorCode::CannotOpen) => StageError::local(stage, format!("cannot open `{path}`"))
                .hint("check that it is a file and its permissions, or set another `path`"),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StageError::local(
                stage,
                format!("`{path}` is damaged or not a database"),
            )
            .hint(
                "move the file away and run `reposync verify --repair`: it is rebuilt from the vector cache",
            ),
            _ => StageError::local(stage, format!("cannot {doing} `{path}`")),
        };
        described.caused_by(error)
    }
}

/// How many threads scan vectors.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
