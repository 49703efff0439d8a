//! The tables, and how an older ledger becomes a newer one.

use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

/// How long to wait for another process's short transaction.
pub(super) const BUSY: Duration = Duration::from_secs(10);

/// `PRAGMA application_id`: "RSyn". Tells a ledger from any other SQLite file.
const APPLICATION_ID: i32 = 0x5253_796e;

/// One script for each version; the ledger's `user_version` says how many were run.
const MIGRATIONS: &[&str] = &[VERSION_1, VERSION_2, VERSION_3, VERSION_4];

/// `projects` and `sync_metadata` begin with the original system's columns; see version 4.
const VERSION_1: &str = "
CREATE TABLE projects (
    id                 INTEGER PRIMARY KEY,
    name               TEXT NOT NULL UNIQUE,
    organization       TEXT,
    filter_keyword     TEXT,
    namespace          TEXT NOT NULL,
    enabled            INTEGER NOT NULL,
    allowed_extensions TEXT,              -- JSON array; NULL: every text file
    exclude_patterns   TEXT NOT NULL,     -- JSON array
    created_at         TEXT NOT NULL,
    updated_at         TEXT NOT NULL,
    selection          TEXT               -- fingerprint of the selection of the last finished run
);
CREATE TABLE places (
    id        INTEGER PRIMARY KEY,
    kind      TEXT NOT NULL,
    host      TEXT NOT NULL,
    idx       TEXT NOT NULL,
    namespace TEXT NOT NULL,
    UNIQUE (kind, host, idx, namespace)
);
-- A place is known to a project once what it held was taken in, whole.
CREATE TABLE adoptions (
    project_id INTEGER NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
    place_id   INTEGER NOT NULL REFERENCES places(id),
    adopted_at TEXT NOT NULL,
    PRIMARY KEY (project_id, place_id)
) WITHOUT ROWID;
CREATE TABLE repositories (
    project_id      INTEGER NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
    name            TEXT NOT NULL,
    key             TEXT NOT NULL,        -- the source's stable key
    entry           TEXT,                 -- the listing's entry at the last finished sync, JSON
    last_commit_sha TEXT,
    last_synced_at  TEXT,
    head_sha        TEXT,                 -- the head last seen, indexed or not
    head_asked_at   TEXT,
    settled         INTEGER NOT NULL DEFAULT 0, -- nothing failed, nothing withheld
    basis           TEXT,                 -- fingerprint of what decides which files, and how
    orphan_since    TEXT,
    PRIMARY KEY (project_id, name)
) WITHOUT ROWID;
CREATE TABLE recipes (
    fingerprint TEXT PRIMARY KEY,
    parts       TEXT NOT NULL             -- JSON object: what it is made of, for the reasons of a plan
) WITHOUT ROWID;
CREATE TABLE sync_metadata (
    id              INTEGER PRIMARY KEY,
    project_id      INTEGER NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
    repository      TEXT NOT NULL,
    file_path       TEXT NOT NULL,
    last_commit_sha TEXT,
    last_synced_at  TEXT,
    embedding_count INTEGER NOT NULL,
    status          TEXT NOT NULL,        -- synced, skipped, failed, adopted, damaged
    blob_sha        TEXT,                 -- of what the index holds; NULL: it holds nothing
    recipe          TEXT,
    place_id        INTEGER REFERENCES places(id),
    detail          TEXT,                 -- the error, or why it is skipped
    UNIQUE (project_id, repository, file_path)
);
CREATE INDEX sync_metadata_unsettled ON sync_metadata (project_id, repository) WHERE status NOT IN ('synced', 'skipped');
CREATE INDEX sync_metadata_blob ON sync_metadata (project_id, blob_sha);
CREATE TABLE chunks (
    file_id     INTEGER NOT NULL REFERENCES sync_metadata(id) ON DELETE CASCADE,
    id          TEXT NOT NULL,
    fingerprint TEXT NOT NULL,            -- of the record's metadata, without commit_sha and url
    PRIMARY KEY (file_id, id)
) WITHOUT ROWID;
-- Ids that are about to exist or to go, so may exist: written before an upsert, closed with the file's rows.
CREATE TABLE intents (
    place_id   INTEGER NOT NULL REFERENCES places(id),
    id         TEXT NOT NULL,
    project    TEXT NOT NULL,
    repository TEXT NOT NULL,
    file_path  TEXT NOT NULL,
    PRIMARY KEY (place_id, id)
) WITHOUT ROWID;
CREATE INDEX intents_file ON intents (project, repository, file_path);
-- Ids in a place that a file has left: to be deleted, once the file is whole in its new place.
CREATE TABLE leftovers (
    place_id   INTEGER NOT NULL REFERENCES places(id),
    id         TEXT NOT NULL,
    project    TEXT NOT NULL,
    repository TEXT NOT NULL,
    file_path  TEXT NOT NULL,
    PRIMARY KEY (place_id, id)
) WITHOUT ROWID;
CREATE INDEX leftovers_project ON leftovers (project);
CREATE TABLE runs (
    id          TEXT PRIMARY KEY,
    trigger     TEXT NOT NULL,
    started_at  TEXT NOT NULL,
    finished_at TEXT,
    outcome     TEXT,
    report      TEXT                      -- JSON; NULL while it runs, or when it was killed
) WITHOUT ROWID;
CREATE TABLE run_events (
    run_id TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    seq    INTEGER NOT NULL,
    at     TEXT NOT NULL,
    event  TEXT NOT NULL,                 -- JSON
    PRIMARY KEY (run_id, seq)
) WITHOUT ROWID;
-- Answers that a source asks for conditionally.
CREATE TABLE answers (
    key     TEXT PRIMARY KEY,
    etag    TEXT NOT NULL,
    body    BLOB NOT NULL,
    used_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counters VALUES ('revision', 0);
";

/// How far repositories are behind, and each project's last run: the history drops the runs of projects
/// that run rarely when others run often.
const VERSION_2: &str = "
-- From last_commit_sha to head_sha; NULL: nobody counted; -1: cannot be told.
ALTER TABLE repositories ADD COLUMN commits_behind INTEGER;
CREATE TABLE last_runs (
    project     TEXT PRIMARY KEY,
    run_id      TEXT NOT NULL,
    finished_at TEXT NOT NULL,
    outcome     TEXT NOT NULL,
    error       TEXT                      -- why it ended early, or its first failure
) WITHOUT ROWID;
INSERT OR REPLACE INTO last_runs
SELECT part.value ->> 'project', runs.id, finished_at, part.value ->> 'outcome',
       coalesce(part.value ->> '$.error.error', part.value ->> '$.failures[0].error')
FROM runs, json_each(report, '$.projects') AS part
WHERE finished_at IS NOT NULL ORDER BY started_at, runs.id;
";

/// Which request and which project a run belongs to; every selected repository, also one that was
/// never indexed; when a project's first run ended.
const VERSION_3: &str = "
ALTER TABLE runs ADD COLUMN request TEXT;   -- the request that asked for the run; its own id where it asked for one
ALTER TABLE runs ADD COLUMN project TEXT;   -- NULL: several, or what the file does not declare any more
UPDATE runs SET
    request = CASE instr(id, '.') WHEN 0 THEN id ELSE substr(id, 1, instr(id, '.') - 1) END,
    project = CASE
        WHEN id LIKE '%.orphans.' THEN NULL
        WHEN json_array_length(report, '$.projects') = 1 THEN report ->> '$.projects[0].project'
        WHEN report IS NULL AND instr(id, '.') > 0 THEN substr(id, instr(id, '.') + 1)
    END;
CREATE INDEX runs_by_start ON runs (started_at, id);
CREATE INDEX runs_by_request ON runs (request);
CREATE INDEX runs_by_project ON runs (project, started_at, id);
CREATE TABLE selected_repositories (
    project_id INTEGER NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    error      TEXT,                        -- why the last run could not index it; NULL: it could
    empty      INTEGER NOT NULL DEFAULT 0,  -- it has no commits
    PRIMARY KEY (project_id, name)
) WITHOUT ROWID;
-- When a run of the project first came to its end: the spending guard lets a first run pass.
ALTER TABLE projects ADD COLUMN first_run_ended_at TEXT;
UPDATE projects SET first_run_ended_at = updated_at
WHERE id IN (SELECT project_id FROM repositories WHERE last_commit_sha IS NOT NULL);
";

/// A revision for each repository instead of one for the whole ledger, which every transaction had to change;
/// and the original system's tables as views with its columns and text ids, so that queries written for it
/// work.
const VERSION_4: &str = "
ALTER TABLE repositories ADD COLUMN revision INTEGER NOT NULL DEFAULT 0; -- grows with its files' records
DROP TABLE counters;
ALTER TABLE projects RENAME TO project_rows;
ALTER TABLE sync_metadata RENAME TO files;
CREATE VIEW projects AS
SELECT name AS id, name, organization, filter_keyword, namespace, enabled, allowed_extensions, exclude_patterns,
       created_at, updated_at
FROM project_rows;
CREATE VIEW sync_metadata AS
SELECT project_rows.name AS project_id, repository, file_path, last_commit_sha, last_synced_at, embedding_count,
       status
FROM files JOIN project_rows ON project_rows.id = files.project_id;
";

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
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for script in &MIGRATIONS[version(&tx)?..] {
        tx.execute_batch(script)?;
    }
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX))?;
    tx.commit()?;
    Ok(Ok(()))
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
    use crate::model::DeclaredProject;
    use crate::state::State as _;
    use crate::state::sqlite::SqliteState;

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
}
