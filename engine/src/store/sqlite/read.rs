//! Fetching and counting records.

use std::collections::BTreeMap;

use rusqlite::Transaction;
use serde_json::{Map, Value};

use crate::store::StoredRecord;

use super::failed::Failed;
use super::ids::row_of;
use super::namespaces::known_namespace;
use super::vector::decode;

/// The records with these ids, in the order of the ids.
pub(super) fn fetch(
    transaction: &Transaction<'_>,
    namespace: &str,
    ids: &[String],
) -> Result<Vec<StoredRecord>, Failed> {
    let Some(number) = known_namespace(transaction, namespace)? else {
        return Ok(Vec::new());
    };
    let mut select = transaction
        .prepare_cached("SELECT facts, text, vector FROM records JOIN vectors USING (row) WHERE row = ?1")?;
    let mut records = Vec::with_capacity(ids.len());
    for id in ids {
        let Some(row) = row_of(transaction, number, id)? else { continue };
        records.push(select.query_row([row], |row| {
            Ok(StoredRecord {
                id: id.clone(),
                metadata: metadata(row.get_ref(0)?.as_str()?, row.get(1)?),
                vector: decode(row.get_ref(2)?.as_blob()?),
            })
        })?);
    }
    Ok(records)
}

/// Number of records by namespace; empty namespaces are left out.
pub(super) fn counts(transaction: &Transaction<'_>) -> Result<BTreeMap<String, u64>, Failed> {
    let mut select = transaction.prepare_cached(
        "SELECT name, count(*) FROM records JOIN namespaces ON number = namespace GROUP BY namespace",
    )?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Rebuilds the metadata from its two columns.
pub(super) fn metadata(facts: &str, text: String) -> Map<String, Value> {
    // We wrote this JSON ourselves, so an error means a damaged file. Its other records are still
    // usable.
    let mut map: Map<String, Value> = serde_json::from_str(facts).unwrap_or_default();
    map.insert("text".into(), text.into());
    map
}
