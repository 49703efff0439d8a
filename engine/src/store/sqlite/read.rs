//! Listing, fetching and counting records.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension as _, Transaction, params};
use serde_json::{Map, Value};

use crate::store::{IdPage, StoredRecord};

use super::failed::Failed;
use super::namespaces::known_namespace;
use super::vector::decode;

/// Ids per page of a listing, about 70 KB.
const PAGE: i64 = 1000;

/// One page of the ids that start with `prefix`, in byte order.
pub(super) fn list(
    transaction: &Transaction<'_>,
    namespace: &str,
    prefix: &str,
    after: Option<&str>,
) -> Result<IdPage, Failed> {
    let Some(number) = known_namespace(transaction, namespace)? else {
        return Ok(IdPage::default());
    };
    // Upper bound of the range: no id with this prefix sorts after it.
    let end = format!("{prefix}{}", char::MAX);
    let mut select = transaction.prepare_cached(
        "SELECT id FROM records
         WHERE namespace = ?1 AND id >= ?2 AND id < ?3 AND id > ?4 ORDER BY id LIMIT ?5",
    )?;
    // An empty string excludes nothing on the first page, since ids are not empty.
    let rows = select
        .query_map(params![number, prefix, end, after.unwrap_or_default(), PAGE + 1], |row| row.get(0))?;
    let mut ids = rows.collect::<Result<Vec<String>, _>>()?;
    let most = usize::try_from(PAGE).expect("a page is small");
    let more = ids.len() > most;
    ids.truncate(most);
    let next = if more { ids.last().cloned() } else { None };
    Ok(IdPage { ids, next })
}

/// The records with these ids, in the order of the ids.
pub(super) fn fetch(
    transaction: &Transaction<'_>,
    namespace: &str,
    ids: &[String],
) -> Result<Vec<StoredRecord>, Failed> {
    let Some(number) = known_namespace(transaction, namespace)? else {
        return Ok(Vec::new());
    };
    let mut select = transaction.prepare_cached(
        "SELECT facts, text, vector FROM records JOIN vectors USING (row) WHERE namespace = ?1 AND id = ?2",
    )?;
    let mut records = Vec::with_capacity(ids.len());
    for id in ids {
        let record = select
            .query_row(params![number, id], |row| {
                Ok(StoredRecord {
                    id: id.clone(),
                    metadata: metadata(row.get_ref(0)?.as_str()?, row.get(1)?),
                    vector: decode(row.get_ref(2)?.as_blob()?),
                })
            })
            .optional()?;
        records.extend(record);
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
