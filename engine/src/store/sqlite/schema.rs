//! The tables of the index and its upgrade.

use std::collections::BTreeSet;

use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, Transaction, params};
use serde_json::{Map, Value};

use crate::store::searched::Searched;

use super::codes::{self, Large};
use super::failed::Failed;
use super::files::Files;
use super::words;

/// Identifies the file as ours (`PRAGMA application_id`): "RSix".
const APPLICATION_ID: i32 = 0x5253_6978;
/// The version of the schema (`PRAGMA user_version`).
pub(super) const VERSION: i32 = 2;
/// Bytes of words that FTS5 collects in memory before it writes a segment. Larger segments are merged
/// less often: this halves what a first run writes.
const WORDS_IN_MEMORY: u32 = 8 << 20;

/// Segments of equal level that FTS5 merges at once. Every commit adds a segment; by its default of 4, a
/// first run would write each of them several times.
const MERGED: u32 = 32;
/// Segments of equal level at which FTS5 merges within the writing statement.
const MERGED_AT_ONCE: u32 = 64;

/// `vectors` is separate from `records` so that a scan reads only vectors; each has the number of its
/// file, by which a query measures files. `facts` is the metadata without `text`, so that
/// filters parse little JSON. `words` uses the row numbers of `records`. `codes` exists only for large
/// namespaces.
const TABLES: &str = "
    CREATE TABLE files (
        number     INTEGER PRIMARY KEY,
        namespace  INTEGER NOT NULL,
        project    TEXT NOT NULL,
        repository TEXT NOT NULL,
        path       TEXT NOT NULL,
        chunks     INTEGER NOT NULL,
        UNIQUE (namespace, project, repository, path)
    );
    CREATE TABLE vectors (
        row    INTEGER PRIMARY KEY,
        file   INTEGER NOT NULL,
        norm   REAL NOT NULL,
        vector BLOB NOT NULL
    );
    CREATE TABLE codes (
        block INTEGER PRIMARY KEY,
        code  BLOB NOT NULL
    );
    CREATE VIRTUAL TABLE words USING fts5(
        path, name, context, body, content='', tokenize=\"porter unicode61 categories 'L* N* Co M*'\"
    );
    INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
";

/// The tables that version 1 had as well.
const FIRST_TABLES: &str = "
    CREATE TABLE namespaces (
        number INTEGER PRIMARY KEY,
        name   TEXT NOT NULL UNIQUE
    );
    CREATE TABLE records (
        row       INTEGER PRIMARY KEY,
        namespace INTEGER NOT NULL,
        id        TEXT NOT NULL,
        facts     TEXT NOT NULL,
        text      TEXT NOT NULL,
        UNIQUE (namespace, id)
    );
";

/// `records` counts the records of a namespace; `coded` is 1 where `codes` covers all of them.
const COUNTS: &str = "
    ALTER TABLE namespaces ADD COLUMN records INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE namespaces ADD COLUMN coded INTEGER NOT NULL DEFAULT 0;
";

/// Creates the tables of an empty database.
pub(super) fn create(transaction: &Transaction<'_>) -> Result<(), Failed> {
    transaction.execute_batch(FIRST_TABLES)?;
    transaction.execute_batch(COUNTS)?;
    add_tables(transaction)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    Ok(())
}

fn add_tables(transaction: &Transaction<'_>) -> Result<(), Failed> {
    transaction.execute_batch(TABLES)?;
    for (option, value) in
        [("hashsize", WORDS_IN_MEMORY), ("automerge", MERGED), ("crisismerge", MERGED_AT_ONCE)]
    {
        transaction.execute("INSERT INTO words (words, rank) VALUES (?1, ?2)", params![option, value])?;
    }
    Ok(())
}

/// Turns an index of version 1 into one of this version: words are rebuilt from the records, vectors
/// are copied. In one transaction, so a full disk or a kill leaves the old index.
pub(super) fn upgrade(transaction: &Transaction<'_>, large: Large) -> Result<(), Failed> {
    transaction.execute_batch("DROP TABLE words; ALTER TABLE vectors RENAME TO vectors_1;")?;
    transaction.execute_batch(COUNTS)?;
    add_tables(transaction)?;
    let mut namespaces = BTreeSet::new();
    {
        let mut select = transaction.prepare(
            "SELECT row, namespace, facts, text, norm, vector FROM records JOIN vectors_1 USING (row) ORDER BY row",
        )?;
        let mut insert =
            transaction.prepare("INSERT INTO vectors (row, file, norm, vector) VALUES (?1, ?2, ?3, ?4)")?;
        let mut files = Files::default();
        let mut rows = select.query([])?;
        while let Some(record) = rows.next()? {
            let (row, namespace): (i64, i64) = (record.get(0)?, record.get(1)?);
            let facts: Map<String, Value> =
                serde_json::from_str(record.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?)
                    .unwrap_or_default();
            let text: String = record.get(3)?;
            let searched = Searched::of_stored(&facts, &text);
            words::insert(transaction, row, &searched)?;
            let file = files.add(transaction, namespace, searched.file(), 1)?;
            let vector = ToSqlOutput::Borrowed(record.get_ref(5)?);
            insert.execute(params![row, file, record.get::<_, f64>(4)?, vector])?;
            namespaces.insert(namespace);
        }
        drop(rows);
        files.finish(transaction)?;
    }
    transaction.execute_batch(
        "DROP TABLE vectors_1;
         UPDATE namespaces SET records = (SELECT count(*) FROM records WHERE namespace = number);",
    )?;
    for namespace in namespaces {
        codes::refresh(transaction, namespace, &BTreeSet::new(), large)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    Ok(())
}

/// True for an empty database: no application id, no table.
pub(super) fn is_new(connection: &Connection) -> Result<bool, Failed> {
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let mark: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    Ok(tables == 0 && mark == 0)
}

/// The version of an index, which this program can read.
pub(super) fn version(connection: &Connection) -> Result<i32, Failed> {
    let mark: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match version {
        _ if mark != APPLICATION_ID => Err(Failed::Foreign),
        1..=VERSION => Ok(version),
        newer => Err(Failed::Newer(newer)),
    }
}
