//! Namespaces and the ranges of their rows.

use rusqlite::{OptionalExtension as _, Transaction};

use super::failed::Failed;

/// Row numbers are the namespace's number times 2^40 plus a counter. The rows of a namespace are
/// therefore contiguous, and scanning one namespace does not read the others.
const NAMESPACE_SHIFT: u32 = 40;

/// The first and the last possible row of a namespace.
pub(super) fn rows_of(namespace: i64) -> (i64, i64) {
    let first = namespace << NAMESPACE_SHIFT;
    (first, first + (1 << NAMESPACE_SHIFT) - 1)
}

/// The number of a namespace; `None` if it was never written to.
pub(super) fn known_namespace(transaction: &Transaction<'_>, name: &str) -> Result<Option<i64>, Failed> {
    let mut find = transaction.prepare_cached("SELECT number FROM namespaces WHERE name = ?1")?;
    Ok(find.query_row([name], |row| row.get(0)).optional()?)
}

/// The number of a namespace, which is added if it is new.
pub(super) fn namespace_number(transaction: &Transaction<'_>, name: &str) -> Result<i64, Failed> {
    if let Some(number) = known_namespace(transaction, name)? {
        return Ok(number);
    }
    transaction.execute("INSERT INTO namespaces (name) VALUES (?1)", [name])?;
    Ok(transaction.last_insert_rowid())
}
