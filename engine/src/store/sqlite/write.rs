//! Writing and deleting records. Vector, metadata and words of a record change in one transaction.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{OptionalExtension as _, Transaction, params};

use crate::model::{Record, StageError};

use super::database::{Database, Failed, NAMESPACE_SHIFT};
use super::vector::{encode, norm};
use super::words::split_identifiers;

/// Inserts records, replacing those with the same id.
pub(super) fn upsert(
    database: &Database,
    transaction: &Transaction<'_>,
    namespace: &str,
    records: &[Record],
) -> Result<(), Failed> {
    let Some(first) = records.first() else {
        return Ok(());
    };
    check_dimension(database, transaction, first.vector.len())?;
    let number = namespace_number(transaction, namespace)?;
    let first_row = number << NAMESPACE_SHIFT;
    let mut next: i64 = transaction
        .prepare_cached("SELECT max(row) FROM records WHERE row BETWEEN ?1 AND ?2")?
        .query_row(params![first_row, first_row + (1 << NAMESPACE_SHIFT) - 1], |row| {
            row.get::<_, Option<i64>>(0)
        })?
        .map_or(first_row, |last| last + 1);

    let mut find = transaction.prepare_cached("SELECT row FROM records WHERE namespace = ?1 AND id = ?2")?;
    let mut write_record = transaction.prepare_cached(
        "INSERT OR REPLACE INTO records (row, namespace, id, facts, text) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let mut write_vector = transaction
        .prepare_cached("INSERT OR REPLACE INTO vectors (row, norm, vector) VALUES (?1, ?2, ?3)")?;
    let mut forget_words = transaction.prepare_cached("DELETE FROM words WHERE rowid = ?1")?;
    let mut write_words = transaction.prepare_cached("INSERT INTO words (rowid, body) VALUES (?1, ?2)")?;

    let mut facts = Vec::new();
    for record in records {
        let norm = checked_norm(database.stage(), record, first.vector.len())?;
        let known: Option<i64> = find.query_row(params![number, record.id], |row| row.get(0)).optional()?;
        let row = if let Some(row) = known {
            forget_words.execute([row])?;
            row
        } else {
            next += 1;
            next - 1
        };
        facts.clear();
        record.metadata.write_json(&mut facts, |key, _| key != "text");
        let told = ToSqlOutput::Borrowed(ValueRef::Text(&facts));
        write_record.execute(params![row, number, record.id, told, record.metadata.text])?;
        write_vector.execute(params![row, norm, encode(&record.vector)])?;
        write_words.execute(params![row, searchable(record)])?;
    }
    Ok(())
}

/// Deletes records by id. Unknown ids are ignored.
pub(super) fn delete(transaction: &Transaction<'_>, namespace: &str, ids: &[String]) -> Result<(), Failed> {
    let Some(number) = known_namespace(transaction, namespace)? else {
        return Ok(());
    };
    let mut forget =
        transaction.prepare_cached("DELETE FROM records WHERE namespace = ?1 AND id = ?2 RETURNING row")?;
    let mut forget_vector = transaction.prepare_cached("DELETE FROM vectors WHERE row = ?1")?;
    let mut forget_words = transaction.prepare_cached("DELETE FROM words WHERE rowid = ?1")?;
    for id in ids {
        let row: Option<i64> = forget.query_row(params![number, id], |row| row.get(0)).optional()?;
        if let Some(row) = row {
            forget_vector.execute([row])?;
            forget_words.execute([row])?;
        }
    }
    Ok(())
}

/// Rejects vectors whose dimension differs from those in the file. An empty file accepts any.
pub(super) fn check_dimension(
    database: &Database,
    transaction: &Transaction<'_>,
    dimension: usize,
) -> Result<(), Failed> {
    match stored_dimension(transaction)? {
        Some(stored) if stored != dimension => Err(StageError::misconfigured(
            database.stage(),
            format!(
                "`{}` holds vectors of {stored} components, the embedder makes {dimension}",
                database.path().display()
            ),
        )
        .hint(
            "set another `path` for this stage (the old file stays as it is), go back to the old embedder, \
             or remove the file to index everything again",
        )
        .into()),
        _ => Ok(()),
    }
}

/// The dimension of the vectors in the file, taken from the first one since all are alike.
pub(super) fn stored_dimension(transaction: &Transaction<'_>) -> Result<Option<usize>, Failed> {
    let bytes: Option<u32> = transaction
        .prepare_cached("SELECT length(vector) FROM vectors LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(bytes.map(|bytes| bytes as usize / 4))
}

/// The number of a namespace; `None` if it was never written to.
pub(super) fn known_namespace(transaction: &Transaction<'_>, name: &str) -> Result<Option<i64>, Failed> {
    let mut find = transaction.prepare_cached("SELECT number FROM namespaces WHERE name = ?1")?;
    Ok(find.query_row([name], |row| row.get(0)).optional()?)
}

fn namespace_number(transaction: &Transaction<'_>, name: &str) -> Result<i64, Failed> {
    if let Some(number) = known_namespace(transaction, name)? {
        return Ok(number);
    }
    transaction.execute("INSERT INTO namespaces (name) VALUES (?1)", [name])?;
    Ok(transaction.last_insert_rowid())
}

fn checked_norm(stage: &str, record: &Record, dimension: usize) -> Result<f32, StageError> {
    let of = |what| {
        StageError::new(stage, crate::model::ErrorKind::Bug, format!("the vector of `{}` {what}", record.id))
    };
    if record.vector.len() != dimension {
        return Err(of("has another dimension than the others"));
    }
    norm(&record.vector).ok_or_else(|| of("is zero or not finite"))
}

/// The text that full-text search indexes: path, heading or signature, and body.
fn searchable(record: &Record) -> String {
    let metadata = &record.metadata;
    let context = metadata.context.as_deref().unwrap_or_default();
    let mut text = String::with_capacity(metadata.text.len() + context.len() + metadata.file_path.len() + 32);
    for part in [metadata.file_path.as_str(), context, metadata.text.as_str()] {
        text.push_str(&split_identifiers(part));
        text.push('\n');
    }
    text
}
