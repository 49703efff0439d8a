//! Helpers for SQLite files that several processes may open at the same moment.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(5);

/// Enables write-ahead logging, retrying for up to `patience`. The connection's busy time-out does
/// not apply here: enabling it needs an exclusive lock after a shared one, and if two connections
/// try at once SQLite returns `SQLITE_BUSY` to one of them immediately to avoid a deadlock.
///
/// Temporary tables and journals stay in memory: hardened containers have no writable temporary
/// folder.
pub(crate) fn use_wal(connection: &Connection, patience: Duration) -> rusqlite::Result<()> {
    use_no_temporary_files(connection)?;
    let began = Instant::now();
    loop {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && began.elapsed() < patience =>
            {
                thread::sleep(PAUSE);
            }
            done => return done,
        }
    }
}

fn use_no_temporary_files(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "temp_store", "MEMORY")
}

/// Copies the current content of the file to memory. Waits up to `patience` for locks of other
/// processes.
pub(crate) fn copy_in_memory(connection: &Connection, patience: Duration) -> rusqlite::Result<Connection> {
    let mut copy = Connection::open_in_memory()?;
    copy_into(connection, &mut copy, patience)?;
    Ok(copy)
}

/// Replaces the content of `copy` by that of the file. Waits up to `patience` for locks of other
/// processes.
pub(crate) fn copy_into(
    connection: &Connection,
    copy: &mut Connection,
    patience: Duration,
) -> rusqlite::Result<()> {
    let backup = Backup::new(connection, copy)?;
    let began = Instant::now();
    while backup.step(-1)? != StepResult::Done {
        if began.elapsed() >= patience {
            return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None));
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// Opens an existing file for reading. If the files that SQLite needs next to it cannot be created
/// (a read-only medium, another user's folder), it cannot coordinate with writers. The file is then
/// read without locks, and [`Unlocked`] tells whether it was changed meanwhile.
pub(crate) fn open_to_read(
    path: &Path,
    flags: OpenFlags,
    patience: Duration,
) -> rusqlite::Result<(Connection, Option<Unlocked>)> {
    let open = |name: &Path, extra: OpenFlags| -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(name, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | extra)?;
        connection.busy_timeout(patience)?;
        use_no_temporary_files(&connection)?;
        // Opening a connection does not read the file yet.
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(connection)
    };
    let error = match open(path, OpenFlags::empty()) {
        Ok(connection) => return Ok((connection, None)),
        Err(error) => error,
    };
    let cannot_coordinate =
        matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly));
    // Changes that are only in the write-ahead log would be missed.
    let in_the_log = std::fs::metadata(with_suffix(path, "-wal")).is_ok_and(|log| log.len() > 0);
    if !cannot_coordinate || in_the_log {
        return Err(error);
    }
    let Some(unlocked) = Unlocked::now(path) else { return Err(error) };
    let connection = open(&immutable(path), OpenFlags::SQLITE_OPEN_URI).map_err(|_| error)?;
    Ok((connection, Some(unlocked)))
}

/// The state of a file that is read without locks, to detect writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unlocked {
    path: PathBuf,
    bytes: u64,
    modified: SystemTime,
}

impl Unlocked {
    fn now(path: &Path) -> Option<Self> {
        let data = std::fs::metadata(path).ok()?;
        Some(Self { path: path.to_owned(), bytes: data.len(), modified: data.modified().ok()? })
    }

    /// True if the file was changed since it was opened: what was read may be inconsistent.
    pub(crate) fn was_changed(&self) -> bool {
        Self::now(&self.path).as_ref() != Some(self)
    }
}

/// The path as a URI with `immutable=1`, which disables locking.
fn immutable(path: &Path) -> PathBuf {
    const SPECIAL: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#').add(b' ');
    let path = path.to_string_lossy();
    format!("file:{}?immutable=1", utf8_percent_encode(&path, SPECIAL)).into()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn many_may_make_a_file_at_once() {
        const PATIENCE: Duration = Duration::from_secs(60);
        for _ in 0..20 {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("new.db");
            let together = Barrier::new(8);
            thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        let connection = Connection::open(&path).expect("opened");
                        connection.busy_timeout(PATIENCE).expect("set");
                        together.wait();
                        use_wal(&connection, PATIENCE).expect("write-ahead logging");
                        connection.execute_batch("BEGIN IMMEDIATE; COMMIT").expect("a transaction");
                    });
                }
            });
        }
    }

    /// A dangling symbolic link keeps SQLite from creating the file; permissions would not stop
    /// root.
    #[cfg(unix)]
    #[test]
    fn a_file_is_read_where_nothing_can_be_created_next_to_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a b?#.db");
        let writer = Connection::open(&path).expect("opened");
        use_wal(&writer, Duration::ZERO).expect("write-ahead logging");
        writer.execute_batch("CREATE TABLE t (n); INSERT INTO t VALUES (7)").expect("filled");
        drop(writer);
        std::os::unix::fs::symlink("/nowhere/at-all", folder.path().join("a b?#.db-shm")).expect("made");
        let open = || open_to_read(&path, OpenFlags::SQLITE_OPEN_READ_ONLY, Duration::ZERO);
        let (reader, unlocked) = open().expect("opened");
        let read: i64 = reader.query_row("SELECT n FROM t", [], |row| row.get(0)).expect("read");
        let unlocked = unlocked.expect("without locks");
        assert_eq!((read, unlocked.was_changed()), (7, false));
        // A write by another process is detected.
        let bytes = std::fs::read(&path).expect("read");
        std::fs::write(&path, [&bytes[..], &[0; 4096]].concat()).expect("changed");
        assert!(unlocked.was_changed());
        // Changes in the write-ahead log cannot be read without its shared-memory index.
        std::fs::write(folder.path().join("a b?#.db-wal"), "changes").expect("written");
        assert!(open().is_err());
    }
}
