//! The rows of the full-text index.

use rusqlite::{Transaction, params};

use crate::store::searched::Searched;

use super::failed::Failed;

/// Adds the words of a row.
pub(super) fn insert(transaction: &Transaction<'_>, row: i64, searched: &Searched<'_>) -> Result<(), Failed> {
    let [path, name, context, body] = searched.columns();
    transaction
        .prepare_cached("INSERT INTO words (rowid, path, name, context, body) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![row, path, name, context, body])?;
    Ok(())
}

/// Removes the words of a row. FTS5 does not keep their text, so it must be given what it was given when they
/// were added.
pub(super) fn delete(transaction: &Transaction<'_>, row: i64, searched: &Searched<'_>) -> Result<(), Failed> {
    let [path, name, context, body] = searched.columns();
    transaction
        .prepare_cached(
            "INSERT INTO words (words, rowid, path, name, context, body)
             VALUES ('delete', ?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![row, path, name, context, body])?;
    Ok(())
}
