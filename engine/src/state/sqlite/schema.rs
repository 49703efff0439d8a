//! The tables, and how an older ledger becomes a newer one.

use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

/// How long to wait for another process's short transaction.
pub(super) const BUSY: Duration = Duration::from_secs(10);

/// `PRAGMA application_id`: "RSyn". Tells a ledger from any other SQLite file.
const APPLICATION_ID: i32 = 0x5253_796e;

/// One script for each version; the ledger's `user_version` says how many were run.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/1.sql"),
    include_str!("migrations/2.sql"),
    include_str!("migrations/3.sql"),
    include_str!("migrations/4.sql"),
    include_str!("migrations/5.sql"),
    include_str!("migrations/6.sql"),
    include_str!("migrations/7.sql"),
];

/// Why a file cannot be used as the ledger.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// Written by a newer program.
    Newer {
        /// The ledger's version.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// An SQLite database, but not a ledger.
    Foreign,
}

/// Creates or migrates the tables, in one transaction, so that a kill leaves the old version whole.
pub(super) fn migrate(conn: &mut Connection) -> rusqlite::Result<Result<(), Unusable>> {
    if let Some(unusable) = inspect(conn)? {
        return Ok(Err(unusable));
    }
    let done = version(conn)?;
    if done == MIGRATIONS.len() {
        return Ok(Ok(()));
    }
    // With foreign keys on, the removal of a table that is rebuilt would delete the rows that refer to it.
    conn.pragma_update(None, "foreign_keys", false)?;
    let migrated = run_scripts(conn);
    conn.pragma_update(None, "foreign_keys", true)?;
    migrated.map(Ok)
}

fn run_scripts(conn: &mut Connection) -> rusqlite::Result<()> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for script in &MIGRATIONS[version(&tx)?..] {
        tx.execute_batch(script)?;
    }
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX))?;
    tx.commit()
}

/// Whether an opened database is a ledger that this program can read.
pub(super) fn inspect(conn: &Connection) -> rusqlite::Result<Option<Unusable>> {
    let application: i32 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && tables > 0 {
        return Ok(Some(Unusable::Foreign));
    }
    let found: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    Ok((found > known).then_some(Unusable::Newer { found, known }))
}

/// True for a ledger of an older program.
pub(super) fn is_older(conn: &Connection) -> rusqlite::Result<bool> {
    Ok(version(conn)? < MIGRATIONS.len())
}

/// True for a ledger of an older program that holds tables: a new file has none.
pub(super) fn holds_older_tables(conn: &Connection) -> rusqlite::Result<bool> {
    Ok((1..MIGRATIONS.len()).contains(&version(conn)?) && inspect(conn)?.is_none())
}

/// Creates the tables of an older version.
#[cfg(test)]
pub(super) fn create_version(conn: &Connection, version: usize) -> rusqlite::Result<()> {
    for script in &MIGRATIONS[..version] {
        conn.execute_batch(script)?;
    }
    conn.pragma_update(None, "application_id", APPLICATION_ID)?;
    conn.pragma_update(None, "user_version", i64::try_from(version).unwrap_or(i64::MAX))
}

pub(super) fn version(conn: &Connection) -> rusqlite::Result<usize> {
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(usize::try_from(version).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{DeclaredProject, Place, TargetState};
    use crate::state::sqlite::SqliteState;
    use crate::state::{FileKey, Files as _, Projects as _, State as _};

    #[tokio::test]
    async fn an_older_ledger_is_brought_up_whoever_opens_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("state.db");
        let conn = Connection::open(&path).expect("created");
        create_version(&conn, 1).expect("the tables");
        for (run, outcome) in [("1", "done"), ("2", "partial")] {
            let part =
                json!({ "project": "p", "outcome": outcome, "error": null, "failures": [{ "error": run }] });
            let report = json!({ "projects": [part] }).to_string();
            let sql = "INSERT INTO runs VALUES (?1, 'apply', ?2, ?2, ?3, ?4)";
            let at = format!("2026-01-0{run}T00:00:00Z");
            conn.execute(sql, [run, &at, outcome, &report]).expect("a run");
        }
        drop(conn);
        let ledger = SqliteState::open_read_only(&path).expect("opened");
        let declared = [DeclaredProject { name: "p".into(), enabled: true, repositories: Vec::new() }];
        let status = ledger.status(&declared, chrono::Utc::now()).await.expect("read");
        let last = status.projects[0].last_run.as_ref().expect("it ran");
        assert_eq!((last.run.as_str(), last.outcome), ("2", crate::model::Outcome::Partial));
        assert_eq!(last.error.as_deref(), Some("2"));
        // A reader leaves the file to whoever writes it; a writer brings it up.
        let conn = Connection::open(&path).expect("opened");
        assert!(is_older(&conn).expect("read"));
        let ledger = SqliteState::open(&path).expect("opened");
        assert!(ledger.status(&declared, chrono::Utc::now()).await.is_ok());
        assert!(!is_older(&conn).expect("read"));
    }

    #[tokio::test]
    async fn files_find_their_targets_and_keep_their_chunks() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("state.db");
        let conn = Connection::open(&path).expect("created");
        create_version(&conn, 4).expect("the tables");
        conn.execute_batch(
            "INSERT INTO project_rows (id, name, namespace, enabled, exclude_patterns, created_at, updated_at,
                 first_run_ended_at)
             VALUES (1, 'moving', 'n', 1, '[]', 't', 't', 't'), (2, 'new', 'n', 1, '[]', 't', 't', NULL);
             INSERT INTO places VALUES (1, 'k', 'h', '', 'old'), (2, 'k', 'h', '', 'n');
             INSERT INTO adoptions VALUES (1, 1, '1'), (1, 2, '2'), (2, 2, '2');
             INSERT INTO files (id, project_id, repository, file_path, embedding_count, status, blob_sha, place_id)
             VALUES (7, 1, 'r', 'a.md', 1, 'synced', 'b', 1), (8, 1, 'r', 'b.md', 1, 'synced', 'b', 2),
                    (9, 1, 'r', 'c.md', 0, 'failed', NULL, NULL), (5, 2, 'r', 'a.md', 1, 'synced', 'b', 2);
             INSERT INTO chunks VALUES (7, 'c7', 'f'), (8, 'c8', 'f'), (5, 'c5', 'f');",
        )
        .expect("an older ledger");
        drop(conn);
        let ledger = SqliteState::open(&path).expect("brought up");
        let status = ledger.status(&[], chrono::Utc::now()).await.expect("read");
        let targets = |name: &str| {
            let project = status.projects.iter().find(|project| project.project == name).expect("kept");
            project.targets.iter().map(|target| (target.place.clone(), target.state)).collect::<Vec<_>>()
        };
        let (old, new) = (place("old"), place("n"));
        assert_eq!(targets("moving"), [(new.to_string(), TargetState::Live)]);
        assert_eq!(targets("new"), [(new.to_string(), TargetState::Building)]);
        let known = ledger.known_files("moving", "r", &new).await.expect("read").files;
        let found: Vec<_> = known.iter().map(|file| (file.path.as_str(), file.in_place)).collect();
        assert_eq!(found, [("a.md", false), ("b.md", true), ("c.md", true)]);
        for (place, file, id) in [(&old, "a.md", "c7"), (&new, "b.md", "c8")] {
            let held =
                ledger.held_ids_many("moving", place, vec![FileKey::new("r", file)]).await.expect("read");
            assert_eq!(
                held[0].chunks.iter().map(|chunk| chunk.0.as_str()).collect::<Vec<_>>(),
                [id],
                "{file}"
            );
        }
        // Foreign keys work again: a project's removal takes its files and chunks along.
        let fence = ledger.lease(&[]).await.expect("asked").expect("free").fence();
        assert_eq!(ledger.remove_project(fence, "new").await.expect("removed"), 1);
        let conn = Connection::open(&path).expect("opened");
        let left: Vec<String> = conn
            .prepare("SELECT id FROM chunks ORDER BY id")
            .and_then(|mut select| select.query_map([], |row| row.get(0))?.collect())
            .expect("read");
        assert_eq!(left, ["c7", "c8"]);
    }

    fn place(namespace: &str) -> Place {
        Place { kind: "k".into(), host: "h".into(), index: String::new(), namespace: namespace.into() }
    }
}
