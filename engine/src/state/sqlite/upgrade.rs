//! Upgrades the ledger of an older program: no other process may be using it, a copy is made first, and a
//! failure leaves the old ledger unchanged.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::error::cannot_open;
use super::lock::{RunLock, daemon_of, with_suffix as beside};
use super::schema::{self, BUSY};
use crate::model::{Running, StageError, StageResult};
use crate::private;
use crate::sqlite::copy_into;
use crate::state::STAGE;

/// Prepares the migration of an existing ledger of an older version: refuses it while an older program
/// is at work, and copies the ledger to `state.db.vN.bak`. The run lock is held until the returned
/// value is dropped; `None` if `held` is the lock or no migration is needed.
pub(super) fn prepare(
    conn: &Connection,
    path: &Path,
    held: Option<&RunLock>,
) -> StageResult<Option<RunLock>> {
    if !is_older(conn, path)? {
        return Ok(None);
    }
    let taken = match held {
        Some(_) => None,
        None => Some(RunLock::try_take(path)?.map_err(|holder| busy(path, "run", holder.as_ref()))?),
    };
    if let Some(serving) = daemon_of(path) {
        return Err(busy(path, "daemon", serving.daemon.as_ref()));
    }
    // Another process may have migrated it before the lock was ours.
    if is_older(conn, path)? {
        let version = schema::version(conn).map_err(|error| cannot_open(path, error))?;
        let copy = back_up(conn, path, version)?;
        tracing::info!(ledger = %path.display(), copy = %copy.display(), "the ledger is brought up to this version");
    }
    Ok(taken)
}

fn is_older(conn: &Connection, path: &Path) -> StageResult<bool> {
    schema::holds_older_tables(conn).map_err(|error| cannot_open(path, error))
}

/// The refusal while a program of the old version is at work: it would go on with tables that it does
/// not know.
fn busy(path: &Path, what: &str, holder: Option<&Running>) -> StageError {
    let who = holder.map_or_else(String::new, |holder| {
        format!(" (process {}, since {})", holder.process, holder.since.format("%Y-%m-%dT%H:%M:%SZ"))
    });
    let message = format!(
        "`{}` is of an older version, and cannot be brought up to this one while another {what} is at work{who}",
        path.display()
    );
    let hint = match what {
        "daemon" => "stop the daemon, run this again, then start the daemon of this version",
        _ => "wait for it to end, then run this again",
    };
    StageError::local(STAGE, message).hint(hint)
}

/// Copies the ledger, durably; an older copy of the same version is replaced. Readable by its owner
/// alone.
fn back_up(conn: &Connection, path: &Path, version: usize) -> StageResult<PathBuf> {
    let copy = beside(path, &format!(".v{version}.bak"));
    let unfinished = beside(path, &format!(".v{version}.bak.tmp"));
    let done = write_copy(conn, &unfinished).and_then(|()| {
        std::fs::rename(&unfinished, &copy)?;
        sync_folder(&copy)
    });
    done.map(|()| copy.clone()).map_err(|error| {
        // What is left of it takes space that is needed.
        drop(std::fs::remove_file(&unfinished));
        let size = std::fs::metadata(path).map_or(0, |data| data.len());
        StageError::local(
            STAGE,
            format!("cannot copy the ledger to `{}` before it is brought up to this version", copy.display()),
        )
        .caused_by(error)
        .hint(format!(
            "free at least {} MiB there and run again; nothing was changed",
            size.div_ceil(1 << 20).max(1)
        ))
    })
}

fn write_copy(conn: &Connection, target: &Path) -> io::Result<()> {
    match std::fs::remove_file(target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    private::create(target)?;
    let copied = (|| {
        let mut copy = Connection::open(target)?;
        // One flush at the end makes it durable.
        copy.pragma_update(None, "synchronous", "OFF")?;
        copy_into(conn, &mut copy, BUSY)?;
        // One file that can be read where nothing can be written.
        copy.pragma_update(None, "journal_mode", "DELETE")?;
        copy.close().map_err(|(_, error)| error)
    })();
    copied.map_err(io::Error::other)?;
    OpenOptions::new().write(true).open(target)?.sync_all()
}

/// Makes a rename durable. Folders cannot be flushed on every system.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if cfg!(unix) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::sqlite::SqliteState;
    use crate::state::{History as _, RunRow};

    /// The run that [`old`] left.
    async fn run(ledger: &SqliteState) -> RunRow {
        ledger.runs_of(vec!["20.docs".into()]).await.expect("read").pop().expect("kept")
    }

    /// A ledger as version 2 left it, with one run in its history.
    fn old(folder: &Path) -> PathBuf {
        let path = folder.join("state.db");
        let conn = Connection::open(&path).expect("created");
        conn.pragma_update(None, "journal_mode", "WAL").expect("WAL");
        schema::create_version(&conn, 2).expect("the tables");
        conn.execute(
            "INSERT INTO runs VALUES ('20.docs', 'push', '2026-01-01T00:00:00.000Z', NULL, NULL, NULL)",
            [],
        )
        .expect("a run");
        path
    }

    fn version(path: &Path) -> usize {
        schema::version(&Connection::open(path).expect("opened")).expect("read")
    }

    #[tokio::test]
    async fn a_copy_of_the_old_ledger_is_left_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = old(folder.path());
        let ledger = SqliteState::open(&path).expect("brought up");
        let run = run(&ledger).await;
        assert_eq!((run.request.as_str(), run.project.as_deref()), ("20", Some("docs")));
        let copy = folder.path().join("state.db.v2.bak");
        assert_eq!(version(&copy), 2);
        assert!(!folder.path().join("state.db.v2.bak.tmp").exists());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&copy).expect("there").permissions().mode() & 0o777, 0o600);
        }
        // The copy is a ledger: put back, it is brought up again.
        drop(ledger);
        std::fs::remove_file(&path).expect("removed");
        std::fs::copy(&copy, &path).expect("put back");
        assert_eq!(self::run(&SqliteState::open(&path).expect("brought up")).await.id, "20.docs");
    }

    #[test]
    fn a_new_ledger_and_one_of_this_version_leave_no_copy() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.db");
        for _ in 0..2 {
            drop(SqliteState::open(&path).expect("opened"));
        }
        let names =
            std::fs::read_dir(folder.path()).expect("read").map(|entry| entry.expect("read").file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["state.db"]);
    }

    #[tokio::test]
    async fn a_full_disk_in_the_middle_leaves_the_old_ledger_usable() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = old(folder.path());
        let mut conn = Connection::open(&path).expect("opened");
        let pages: i64 = conn.pragma_query_value(None, "page_count", |row| row.get(0)).expect("read");
        // SQLite's own limit: the next page is refused like on a full disk.
        conn.pragma_update(None, "max_page_count", pages).expect("set");
        let error = schema::migrate(&mut conn).expect_err("full");
        assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DiskFull));
        drop(conn);
        assert_eq!(version(&path), 2);
        let conn = Connection::open(&path).expect("opened");
        conn.execute("UPDATE runs SET outcome = 'done'", []).expect("usable");
        drop(conn);
        let run = run(&SqliteState::open(&path).expect("room again")).await;
        assert_eq!(run.outcome.as_deref(), Some("done"));
    }

    #[test]
    fn a_copy_that_cannot_be_made_is_told_and_nothing_is_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = old(folder.path());
        std::fs::create_dir_all(folder.path().join("state.db.v2.bak/in-the-way")).expect("made");
        let error = SqliteState::open(&path).expect_err("refused");
        assert!(error.message.starts_with("cannot copy the ledger to "), "{}", error.message);
        assert_eq!(version(&path), 2);
        assert!(!folder.path().join("state.db.v2.bak.tmp").exists());
    }

    #[test]
    fn an_older_program_at_work_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = old(folder.path());
        let run = || RunLock::take(&path).expect("free");
        let held = run();
        let error = SqliteState::open(&path).expect_err("a run is at work");
        assert!(error.message.contains("while another run is at work (process "), "{}", error.message);
        // The run itself may bring it up, once no daemon is there.
        let daemon = File::create(beside(&path, ".daemon")).expect("made");
        daemon.lock().expect("locked");
        let error = SqliteState::open_locked(&path, held).expect_err("a daemon is at work");
        assert!(error.hint.as_deref().is_some_and(|hint| hint.starts_with("stop the daemon")), "{error:?}");
        assert_eq!(version(&path), 2);
        drop(daemon);
        drop(SqliteState::open_locked(&path, run()).expect("brought up"));
        assert!(version(&path) > 2);
        // Whoever is at work on a ledger of this version is no obstacle.
        drop(SqliteState::open(&path).expect("opened"));
    }
}
