//! The file of the vector cache, with a size bound.
//!
//! Content-addressed: a key is a hash of (embedder identity, exact input). A damaged or foreign file is moved
//! aside and replaced by an empty one, and on a full or read-only disk the run continues without the cache.
//! Calls block. Several processes may share one file.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use crate::model::{ByteSize, Vector};
use crate::private;
use crate::sqlite::{open_to_read, use_wal};
use crate::state::vector_bytes::{decode, encode, encoded_bytes};
use crate::state::vector_cache::CacheKey;
use crate::state_folder;

/// Identifies the file as ours (`PRAGMA application_id`): "RSvc".
const APPLICATION_ID: i32 = 0x5253_7663;
/// Increase when the schema or the format of a row changes. Files of a newer version are replaced. Version 1 had a
/// unique index of whole keys; the statements work with either.
const VERSION: i32 = 2;
/// Its name in the folder.
pub(super) const CACHE_FILE: &str = "cache.db";
/// Rows evicted per step.
const EVICT_STEP: i64 = 1000;
/// Rows forgotten in a transaction.
const FORGET_STEP: i64 = 10_000;

/// Size of the write-ahead log after which it is copied to the file.
const WAL_BYTES: i32 = 64 << 20;
/// How long to wait for another process's transaction.
const BUSY: Duration = Duration::from_secs(5);

/// The index has the beginnings of keys: it is half as large as one of whole keys, and keys are random, so that
/// every key of a commit changes another page of it.
const SCHEMA: &str = "
    CREATE TABLE vectors (
        id     INTEGER PRIMARY KEY,
        key    BLOB    NOT NULL,
        used   INTEGER NOT NULL,  -- day of the last use, days since 1970
        vector BLOB    NOT NULL   -- check, then f32 little-endian
    ) STRICT;
    CREATE INDEX vectors_by_key ON vectors (substr(key, 1, 8));
    CREATE INDEX vectors_by_use ON vectors (used);
";
/// Finds the row of a key.
macro_rules! of_key {
    () => {
        "substr(key, 1, 8) = substr(?1, 1, 8) AND key = ?1"
    };
}

/// An opened cache.
#[derive(Debug)]
pub(super) struct CacheFile {
    path: PathBuf,
    bound: u64,
    state: Mutex<CacheState>,
}

#[derive(Debug)]
struct CacheState {
    /// `None`: the cache is disabled for this process.
    connection: Option<Connection>,
    /// False after a write failed because the disk is full or read-only.
    writable: bool,
    /// How often the file was moved aside. The second time in one process disables the cache.
    recreated: u32,
}

impl CacheFile {
    /// Opens `cache.db` in a folder, which is created if missing. Never fails: an unusable file is
    /// moved aside and replaced, or else the cache is disabled.
    pub(super) fn open(folder: &Path, bound: ByteSize) -> Self {
        let cache = Self {
            path: folder.join(CACHE_FILE),
            bound: bound.0,
            state: Mutex::new(CacheState { connection: None, writable: true, recreated: 0 }),
        };
        cache.connect(&mut cache.lock());
        cache
    }

    /// Looks up keys and marks the entries as used today. The result is in the order of the keys.
    pub(super) fn get_many(&self, keys: &[CacheKey]) -> Vec<Option<Vector>> {
        let mut found = vec![None; keys.len()];
        self.attempt("read", |state, connection| {
            let today = today();
            let mut stale = Vec::new();
            {
                let transaction = connection.unchecked_transaction()?;
                let mut select = transaction
                    .prepare_cached(concat!("SELECT id, used, vector FROM vectors WHERE ", of_key!()))?;
                for (key, found) in keys.iter().zip(&mut found) {
                    let mut rows = select.query([key.bytes()])?;
                    let Some(row) = rows.next()? else { continue };
                    *found = row.get_ref(2)?.as_blob().ok().and_then(|blob| decode(key, blob));
                    if found.is_some() && row.get::<_, i64>(1)? < today {
                        stale.push(row.get::<_, i64>(0)?);
                    }
                }
            }
            if state.writable && !stale.is_empty() {
                let transaction = connection.unchecked_transaction()?;
                {
                    let mut update =
                        transaction.prepare_cached("UPDATE vectors SET used = ?1 WHERE id = ?2")?;
                    for id in stale {
                        update.execute([today, id])?;
                    }
                }
                transaction.commit()?;
            }
            Ok(())
        });
        found
    }

    /// Returns which keys are cached. Read-only.
    pub(super) fn contains_many(&self, keys: &[CacheKey]) -> Vec<bool> {
        let mut found = vec![false; keys.len()];
        self.attempt("read", |_, connection| {
            let transaction = connection.unchecked_transaction()?;
            let mut select =
                transaction.prepare_cached(concat!("SELECT 1 FROM vectors WHERE ", of_key!()))?;
            for (key, found) in keys.iter().zip(&mut found) {
                *found = select.query_row([key.bytes()], |_| Ok(())).optional()?.is_some();
            }
            Ok(())
        });
        found
    }

    /// Stores vectors in one transaction, then evicts least recently used entries until the size
    /// bound holds.
    pub(super) fn put_many(&self, vectors: &[(CacheKey, Vector)]) {
        let mut sorted: Vec<_> = vectors.iter().collect();
        sorted.sort_unstable_by_key(|(key, _)| *key); // writes neighbours in the index together
        self.attempt("write", |state, connection| {
            if !state.writable {
                return Ok(());
            }
            let today = today();
            let transaction = connection.unchecked_transaction()?;
            {
                let mut update = transaction
                    .prepare_cached(concat!("UPDATE vectors SET used = ?2, vector = ?3 WHERE ", of_key!()))?;
                let mut insert = transaction
                    .prepare_cached("INSERT INTO vectors (key, used, vector) VALUES (?1, ?2, ?3)")?;
                let mut blob = Vec::new();
                for (key, vector) in sorted {
                    encode(key, vector, &mut blob);
                    let row = params![key.bytes(), today, blob];
                    if update.execute(row)? == 0 {
                        insert.execute(row)?;
                    }
                }
            }
            transaction.commit()?;
            evict(connection, self.bound)
        });
    }

    /// Deletes all vectors of this many components and gives their space back, unless that was done before.
    pub(super) fn forget(&self, components: usize) {
        self.attempt("write", |state, connection| {
            if !state.writable {
                return Ok(());
            }
            forget(connection, components)
        });
    }

    /// Works on the file; `None`: the cache is disabled.
    pub(super) fn on_connection<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Option<rusqlite::Result<T>> {
        self.lock().connection.as_ref().map(work)
    }

    fn lock(&self) -> MutexGuard<'_, CacheState> {
        self.state.lock()
    }

    /// Runs an operation on the file, if the cache is enabled, and handles its errors.
    fn attempt(&self, what: &str, operation: impl FnOnce(&CacheState, &Connection) -> rusqlite::Result<()>) {
        let mut state = self.lock();
        let Some(connection) = &state.connection else { return };
        let Err(error) = operation(&state, connection) else { return };
        let path = self.path.display();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                tracing::debug!(%path, %error, "the vector cache is busy; skipping it for this call");
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                self.recreate(&mut state, &error.to_string());
            }
            Some(ErrorCode::DiskFull | ErrorCode::ReadOnly) => {
                tracing::warn!(%path, %error, "cannot write the vector cache; new vectors are not cached");
                state.writable = false;
            }
            _ => {
                tracing::warn!(%path, %error, "cannot {what} the vector cache; continuing without it");
                state.connection = None;
            }
        }
    }

    fn connect(&self, state: &mut CacheState) {
        // SQLite's busy time-out does not cover two processes that create the file at the same
        // moment.
        let mut tries = 50;
        let mut opened = open_file(&self.path, self.bound);
        while matches!(opened, Err(Unusable::Busy)) && tries > 0 {
            tries -= 1;
            std::thread::sleep(Duration::from_millis(20));
            opened = open_file(&self.path, self.bound);
        }
        match opened {
            Ok(connection) => state.connection = Some(connection),
            Err(Unusable::Busy) => {
                tracing::warn!(path = %self.path.display(), "the vector cache is locked; continuing without it");
            }
            Err(Unusable::Content(why)) => self.recreate(state, &why),
            Err(Unusable::Place(why)) => {
                if let Some(connection) = open_read_only(&self.path) {
                    state.connection = Some(connection);
                    state.writable = false;
                    return;
                }
                let path = self.path.display();
                tracing::warn!(%path, error = %why, "cannot open the vector cache; continuing without it");
            }
        }
    }

    /// Moves the file aside and creates a new one.
    fn recreate(&self, state: &mut CacheState, why: &str) {
        state.connection = None;
        state.recreated += 1;
        let aside = self.path.with_extension("db.unusable");
        let path = self.path.display();
        if state.recreated > 1 {
            tracing::warn!(%path, error = why, "the vector cache is damaged again; continuing without it");
            return;
        }
        tracing::warn!(%path, error = why, moved_to = %aside.display(), "the vector cache is unusable; starting with an empty one");
        if let Err(error) = std::fs::rename(&self.path, &aside) {
            tracing::warn!(%path, %error, "cannot move the vector cache aside; continuing without it");
            return;
        }
        for companion in ["cache.db-wal", "cache.db-shm"] {
            // Usually absent. SQLite would apply a leftover WAL to the new file.
            if let Err(error) = std::fs::remove_file(self.path.with_file_name(companion))
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(%path, %error, "cannot remove `{companion}`; continuing without a vector cache");
                return;
            }
        }
        self.connect(state);
    }
}

enum Unusable {
    /// Its content: damaged, foreign, of another version.
    Content(String),
    /// Its location: no permission, no space, a folder of this name.
    Place(String),
    /// Another process has locked it.
    Busy,
}

impl From<rusqlite::Error> for Unusable {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Content(error.to_string()),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            _ => Self::Place(error.to_string()),
        }
    }
}

/// Opens the cache for reading only, on a read-only medium or as another user. A vector that a
/// concurrent writer is changing fails its checksum and counts as missing.
fn open_read_only(path: &Path) -> Option<Connection> {
    let (connection, _) = open_to_read(path, OpenFlags::SQLITE_OPEN_READ_ONLY, BUSY).ok()?;
    connection.set_prepared_statement_cache_capacity(8);
    is_ours(&connection).ok()?.then_some(connection)
}

fn is_ours(connection: &Connection) -> rusqlite::Result<bool> {
    let number = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, i32>(0));
    let is_known = (1..=VERSION).contains(&number("PRAGMA user_version")?);
    Ok(number("PRAGMA application_id")? == APPLICATION_ID && is_known)
}

fn open_file(path: &Path, bound: u64) -> Result<Connection, Unusable> {
    if let Some(folder) = path.parent() {
        state_folder::make(folder).map_err(|error| Unusable::Place(error.to_string()))?;
    }
    // A cache that other users can read is not used.
    private::create(path)
        .and_then(|()| private::narrow_database(path))
        .map_err(|error| Unusable::Place(error.to_string()))?;
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(8);
    // Keys are random, so that every key of a commit changes another page of the index: small pages, and checkpointing
    // late, which writes each page back less often. In larger pages vectors would also leave more space unused. The
    // page size applies only to a new file. A commit need not survive a power failure, so it does not sync.
    // To set either of an existing file would write to it.
    let number = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, i32>(0));
    if number("PRAGMA page_count")? == 0 {
        connection.execute_batch("PRAGMA page_size = 1024; PRAGMA auto_vacuum = INCREMENTAL")?;
    }
    use_wal(&connection, BUSY)?;
    connection.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA cache_size = -4096")?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_BYTES / number("PRAGMA page_size")?)?;
    if !is_ours(&connection)? {
        // Another process may be creating the file; check again under the write lock.
        connection.execute_batch("BEGIN IMMEDIATE")?;
        if !is_ours(&connection)? {
            if number("SELECT count(*) FROM sqlite_schema")? > 0 {
                return Err(Unusable::Content("not a vector cache of this version".into()));
            }
            connection.execute_batch(SCHEMA)?;
            connection.pragma_update(None, "application_id", APPLICATION_ID)?;
            connection.pragma_update(None, "user_version", VERSION)?;
        }
        connection.execute_batch("COMMIT")?;
    }
    connection.query_row("SELECT id, key, used, vector FROM vectors LIMIT 1", [], |_| Ok(())).optional()?;
    evict(&connection, bound)?;
    Ok(connection)
}

/// Deletes rows whose vector has this many components, in steps, so that other processes can write in between. The
/// table of what was forgotten is one that older programs do not look at.
fn forget(connection: &Connection, components: usize) -> rusqlite::Result<()> {
    let bytes = i64::try_from(encoded_bytes(components)).unwrap_or(i64::MAX);
    let components = i64::try_from(components).unwrap_or(i64::MAX);
    connection
        .execute_batch("CREATE TABLE IF NOT EXISTS forgotten (components INTEGER PRIMARY KEY) STRICT")?;
    let is_forgotten = "SELECT 1 FROM forgotten WHERE components = ?1";
    if connection.query_row(is_forgotten, [components], |_| Ok(())).optional()?.is_some() {
        return Ok(());
    }
    let mut after = 0;
    loop {
        let transaction = connection.unchecked_transaction()?;
        let last: Option<i64> = transaction.query_row(
            "SELECT max(id) FROM (SELECT id FROM vectors WHERE id > ?1 ORDER BY id LIMIT ?2)",
            [after, FORGET_STEP],
            |row| row.get(0),
        )?;
        let Some(last) = last else { break };
        let sql = "DELETE FROM vectors WHERE id > ?1 AND id <= ?2 AND length(vector) = ?3";
        transaction.execute(sql, [after, last, bytes])?;
        transaction.commit()?;
        after = last;
    }
    connection.execute("INSERT OR IGNORE INTO forgotten VALUES (?1)", [components])?;
    vacuum(connection, 0)
}

/// Evicts least recently used rows if the bound is exceeded, down to nine tenths of it so that
/// not every write evicts.
fn evict(connection: &Connection, bound: u64) -> rusqlite::Result<()> {
    let number =
        |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs);
    let page = number("PRAGMA page_size")?;
    let pages = number("PRAGMA page_count")?;
    if pages * page <= bound {
        return Ok(());
    }
    let used = || number("PRAGMA freelist_count").map(|free| pages.saturating_sub(free) * page);
    if used()? <= bound {
        return Ok(());
    }
    let mut delete = connection.prepare_cached(
        "DELETE FROM vectors WHERE id IN (SELECT id FROM vectors ORDER BY used, id LIMIT ?1)",
    )?;
    while used()? > bound / 10 * 9 && delete.execute([EVICT_STEP])? > 0 {}
    // The other free pages are reused.
    vacuum(connection, pages - bound / page)
}

/// Releases at most `pages` free pages to the file system; 0 releases all.
fn vacuum(connection: &Connection, pages: u64) -> rusqlite::Result<()> {
    let mut vacuum = connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut steps = vacuum.query([])?; // each step frees one page
    while steps.next()?.is_some() {}
    Ok(())
}

/// Days since 1970. Uses are recorded by day, so that most reads do not write.
fn today() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs() / 86_400).unwrap_or(i64::MAX)
}
