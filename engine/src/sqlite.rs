//! What the SQLite files have in common: several processes may open them at the same moment.

use std::thread;
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, ffi};

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(5);

/// Turns write-ahead logging on, and waits up to `patience` while others are at it. The connection's
/// own busy time-out does not hold here: to turn it on SQLite needs the file for itself while it
/// reads it, and where two do that it tells one of them at once that the file is busy.
pub(crate) fn use_wal(connection: &Connection, patience: Duration) -> rusqlite::Result<()> {
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

/// A copy of what the file holds now, in memory. Waits up to `patience` for who keeps it locked.
pub(crate) fn copy_in_memory(connection: &Connection, patience: Duration) -> rusqlite::Result<Connection> {
    let mut copy = Connection::open_in_memory()?;
    copy_into(connection, &mut copy, patience)?;
    Ok(copy)
}

/// Makes `copy` hold what the file holds now. Waits up to `patience` while others keep the file locked.
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
}
