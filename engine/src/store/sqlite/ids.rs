//! Finding records by id.
//!
//! An id is an MD5 of its file, a dash, an MD5 of its text, a dash and a number, so ids come in no order: each commit
//! changes other pages of their index, and with whole ids it was a fifth of all that a first run writes. Therefore the
//! index has 18 of the 67 characters, 12 of the file's and 6 of the text's. Records that share them are few, and each is
//! compared.

use rusqlite::{OptionalExtension as _, Transaction, params};

use crate::store::IdPage;

use super::failed::Failed;

/// Only a condition that repeats its expressions as they are uses it.
pub(super) const INDEX: &str =
    "CREATE INDEX records_by_id ON records (namespace, substr(id, 1, 12), substr(id, 34, 6));";

/// The row of id `?2` in namespace `?1`. Here and below the plus keeps SQLite from putting `?2` into the expressions of
/// the index, which would not be used then.
const ROW: &str = "SELECT row FROM records
                   WHERE namespace = ?1 AND substr(id, 1, 12) = substr(?2, 1, 12)
                   AND substr(id, 34, 6) = substr(?2, 34, 6) AND +id = ?2";

/// The records of namespace `?1` whose ids are at least `?2` and less than `?3`.
const RANGE: &str = "namespace = ?1 AND substr(id, 1, 12) BETWEEN substr(?2, 1, 12) AND substr(?3, 1, 12)
                     AND +id >= ?2 AND +id < ?3";

/// The beginning of an id that is `?4` ids after those that begin like `?2`, up to `?3`.
const LAST: &str = "SELECT substr(id, 1, 12) FROM records
                    WHERE namespace = ?1 AND substr(id, 1, 12) > substr(?2, 1, 12)
                    AND substr(id, 1, 12) <= substr(?3, 1, 12)
                    ORDER BY substr(id, 1, 12) LIMIT 1 OFFSET ?4";

/// Ids of a page of a listing, about 70 KB; more if their beginnings are equal.
const PAGE: i64 = 1000;

/// The row of a record; `None` if there is none with this id.
pub(super) fn row_of(transaction: &Transaction<'_>, namespace: i64, id: &str) -> Result<Option<i64>, Failed> {
    let mut find = transaction.prepare_cached(ROW)?;
    Ok(find.query_row(params![namespace, id], |row| row.get(0)).optional()?)
}

/// Passes columns of the records whose ids are at least `from` and less than `to`.
pub(super) fn between(
    transaction: &Transaction<'_>,
    columns: &str,
    (namespace, from, to): (i64, &str, &str),
    mut take: impl FnMut(&rusqlite::Row<'_>) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let mut select = transaction.prepare_cached(&format!("SELECT {columns} FROM records WHERE {RANGE}"))?;
    let mut rows = select.query(params![namespace, from, to])?;
    while let Some(row) = rows.next()? {
        take(row)?;
    }
    Ok(())
}

/// One page of the ids that start with `prefix`, in byte order.
pub(super) fn list(
    transaction: &Transaction<'_>,
    namespace: i64,
    prefix: &str,
    after: Option<&str>,
) -> Result<IdPage, Failed> {
    let end = beyond(prefix);
    let from = after.filter(|after| *after > prefix).unwrap_or(prefix);
    // The index does not order ids of the same beginning, so a page has all of them.
    let mut select = transaction.prepare_cached(LAST)?;
    let last: Option<String> =
        select.query_row(params![namespace, from, end, PAGE], |row| row.get(0)).optional()?;
    let to = last.as_deref().map_or(end, beyond);
    let mut ids: Vec<String> = Vec::new();
    between(transaction, "id", (namespace, from, &to), |row| {
        ids.push(row.get(0)?);
        Ok(())
    })?;
    ids.retain(|id| after.is_none_or(|after| id.as_str() > after));
    ids.sort_unstable();
    let next = if last.is_some() { ids.last().cloned() } else { None };
    Ok(IdPage { ids, next })
}

/// An id that sorts after all those that start with `prefix`.
fn beyond(prefix: &str) -> String {
    format!("{prefix}{}", char::MAX)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::super::schema;
    use super::*;

    /// An index with these ids in its namespace 1.
    fn with(ids: &[String]) -> Connection {
        let mut index = Connection::open_in_memory().expect("opened");
        let transaction = index.transaction().expect("begun");
        schema::create(&transaction).expect("tables");
        for id in ids {
            transaction
                .execute("INSERT INTO records (namespace, id, facts, text) VALUES (1, ?1, '{}', '')", [id])
                .expect("inserted");
        }
        transaction.commit().expect("committed");
        index
    }

    fn listed(transaction: &Transaction<'_>, prefix: &str) -> (usize, Vec<String>) {
        let (mut pages, mut ids, mut after) = (0, Vec::new(), None);
        loop {
            let page = list(transaction, 1, prefix, after.as_deref()).expect("listed");
            ids.extend(page.ids);
            pages += 1;
            assert!(page.next.is_none() || page.next > after, "it goes on");
            after = page.next;
            if after.is_none() {
                return (pages, ids);
            }
        }
    }

    #[test]
    fn ids_are_listed_in_byte_order_whatever_they_share() {
        let file = |file: u32, chunks: u32| {
            (0..chunks).map(move |chunk| {
                // The hash of each file begins alike.
                format!(
                    "00000000ffff{file:020x}-{:032x}-{chunk}",
                    u128::from(chunk).wrapping_mul(u128::MAX / 7919)
                )
            })
        };
        let single =
            (0..2100).map(|number: u32| format!("{:032x}-{number:032x}-0", u128::from(number) << 90));
        let short = ["a", "a-1", "a-10", "a-2", "ä", "z"].map(str::to_owned);
        let mut ids: Vec<String> = file(1, 1500).chain(file(2, 900)).chain(single).chain(short).collect();
        let mut index = with(&ids);
        let transaction = index.transaction().expect("begun");
        ids.sort();
        let (pages, all) = listed(&transaction, "");
        assert_eq!(all, ids);
        assert!((4..=6).contains(&pages), "{pages}");
        for prefix in
            ["a", "a-1", "0", "00000000ffff00000000000000000001-", "00000000ffff00000000000000000002-2", "b"]
        {
            let expected: Vec<_> = ids.iter().filter(|id| id.starts_with(prefix)).cloned().collect();
            assert_eq!(listed(&transaction, prefix).1, expected, "{prefix}");
        }
        for id in &ids {
            let row = row_of(&transaction, 1, id).expect("read").expect("known");
            let stored: String = transaction
                .query_row("SELECT id FROM records WHERE row = ?1", [row], |row| row.get(0))
                .expect("a record");
            assert_eq!(stored, *id);
        }
        assert_eq!(row_of(&transaction, 1, "a-3").expect("read"), None);
        assert_eq!(row_of(&transaction, 2, "a-1").expect("read"), None);
    }

    #[test]
    fn the_index_answers_by_both_of_its_expressions() {
        let mut index = with(&[]);
        let transaction = index.transaction().expect("begun");
        let plan = |sql: &str| -> String {
            let mut explain = transaction.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("prepared");
            let unbound = rusqlite::params_from_iter((0..explain.parameter_count()).map(|_| ""));
            explain.query_row(unbound, |row| row.get(3)).expect("a plan")
        };
        let by = |bounds: &str| format!("SEARCH records USING INDEX records_by_id (namespace=?{bounds})");
        assert_eq!(plan(ROW), by(" AND <expr>=? AND <expr>=?"));
        assert_eq!(plan(&format!("SELECT id FROM records WHERE {RANGE}")), by(" AND <expr>>? AND <expr><?"));
        assert!(plan(LAST).starts_with("SEARCH records USING"), "{}", plan(LAST));
    }
}
