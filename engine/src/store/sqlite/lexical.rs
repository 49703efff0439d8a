//! Full-text search: BM25 of all records that have a word of the query, and definitions of a symbol.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use crate::rank::{Words, last_part, searchable};

use super::failed::Failed;
use super::namespaces::rows_of;

/// Maximum number of records whose name is compared with a symbol.
const MOST_NAMED: i64 = 2000;

/// BM25 by row. Words of the path and of the symbol's name count three times as much as those of the
/// body, words of the context twice.
pub(super) fn by_words(
    connection: &Connection,
    namespaces: &[i64],
    words: &Words,
) -> Result<HashMap<i64, f64>, Failed> {
    let mut scores = HashMap::new();
    let Some(expression) = expression(words) else { return Ok(scores) };
    let mut select = connection.prepare_cached(
        "SELECT rowid, bm25(words, 3.0, 3.0, 2.0, 1.0) FROM words
         WHERE words MATCH ?1 AND rowid BETWEEN ?2 AND ?3",
    )?;
    for namespace in namespaces {
        let (first, last) = rows_of(*namespace);
        let mut rows = select.query(params![expression, first, last])?;
        while let Some(row) = rows.next()? {
            // FTS5 scores are negative; rare words of tiny indexes can make them zero.
            scores.insert(row.get(0)?, (-row.get::<_, f64>(1)?).max(f64::MIN_POSITIVE));
        }
    }
    Ok(scores)
}

/// Rows whose name has the words of a symbol's last part, side by side.
pub(super) fn named(connection: &Connection, namespaces: &[i64], symbol: &str) -> Result<Vec<i64>, Failed> {
    let form = searchable(last_part(symbol)).into_owned();
    let phrase: String = form.chars().map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
    if phrase.trim().is_empty() {
        return Ok(Vec::new());
    }
    let expression = format!("name : \"{phrase}\"");
    let mut select = connection.prepare_cached(
        "SELECT rowid FROM words WHERE words MATCH ?1 AND rowid BETWEEN ?2 AND ?3 LIMIT ?4",
    )?;
    let mut found = Vec::new();
    for namespace in namespaces {
        let (first, last) = rows_of(*namespace);
        let rows = select.query_map(params![expression, first, last, MOST_NAMED], |row| row.get(0))?;
        found.extend(rows.collect::<Result<Vec<i64>, _>>()?);
    }
    Ok(found)
}

/// The FTS5 expression that matches any of the words; `None` without a word.
///
/// Words are letters, digits and marks in quotes, so they cannot inject FTS5 syntax.
fn expression(words: &Words) -> Option<String> {
    let quoted: Vec<String> = words
        .list()
        .iter()
        .map(|word| format!("\"{}\"{}", word.text, if word.prefix { " *" } else { "" }))
        .collect();
    (!quoted.is_empty()).then(|| quoted.join(" OR "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_words_in_quotes() {
        for (text, expected) in [
            ("how is a deletion guarded?", Some("\"deletion\" OR \"guarded\"")),
            ("NEAR(\"a\" b*) NOT col:x -- ^'", Some("\"near\" OR \"b\" OR \"col\" OR \"x\"")),
            ("犬", Some("\"犬\" *")),
            ("?! --", None),
        ] {
            assert_eq!(expression(&Words::new(text)).as_deref(), expected);
        }
    }
}
