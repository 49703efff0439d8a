//! Full-text search: BM25 of records that have a word of the query, and definitions of a symbol.
//!
//! The best records are found without scoring all that have a word (the algorithm is known as MaxScore): what a
//! word can add to a score is known, so a frequent word, which can add little, lifts no record above the best of
//! those that have a rarer one. Only the latter are scored, first by the rarer words alone. The result is exactly
//! that of scoring everything.

use std::collections::{BTreeSet, HashMap};

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::rank::{Words, last_part, searchable};

use super::database::{Database, threads};
use super::failed::Failed;
use super::namespaces::rows_of;
use super::parallel::{ROWS_PER_PART, spread};

/// Maximum number of records whose name is compared with a symbol.
const MOST_NAMED: i64 = 2000;
/// The most that a word can add to a score is this many times what it adds where it occurs once in a record of
/// average length (k1 + 1 of BM25).
const MOST_TO_ONCE: f64 = 2.2;
/// A bound is compared with a score that was summed up in another order.
const ROUNDING: f64 = 1e-9;

/// The BM25 of FTS5. Words of the path and of the symbol's name count three times as much as those of the body,
/// words of the context twice.
const SCORE: &str = "bm25(words, 3.0, 3.0, 2.0, 1.0)";
/// The limit of BM25 for one word that occurs ever more often: what it can add to a score at most.
const MOST: &str = "bm25(words, 1e300, 1e300, 1e300, 1e300)";

/// The words of a query, and what is searched for them.
pub(super) struct Lexical<'a> {
    namespaces: &'a [i64],
    /// Matches records with any of the words.
    any: String,
    /// What each word can add to a score, and the expression that matches it; highest first.
    words: Vec<(f64, String)>,
}

impl<'a> Lexical<'a> {
    /// Counts the records of each word.
    pub(super) fn new(connection: &Connection, namespaces: &'a [i64], words: &Words) -> Result<Self, Failed> {
        let mut select =
            connection.prepare_cached(&format!("SELECT {MOST} FROM words WHERE words MATCH ?1 LIMIT 1"))?;
        let mut found = Vec::new();
        for expression in expressions(words) {
            let most: Option<f64> = select.query_row([&expression], |row| row.get(0)).optional()?;
            // FTS5 scores are negative.
            found.extend(most.map(|most| (-most, expression)));
        }
        let any = any(found.iter().map(|(_, expression)| expression));
        found.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        Ok(Self { namespaces, any, words: found })
    }

    /// Rows among which are the `wanted` best that pass, and all that are as good as the last of these.
    pub(super) fn candidates(
        &self,
        connection: &Connection,
        wanted: usize,
        mut passes: impl FnMut(i64) -> Result<bool, Failed>,
    ) -> Result<Vec<i64>, Failed> {
        for rarer in 1..=self.words.len() {
            let (scored, others) = self.words.split_at(rarer);
            let others: f64 = others.iter().map(|(most, _)| most).sum();
            // Without enough records that have one of the rarer words, or with high scores for them, the next word
            // is scored as well. Whether it is worth trying is known only roughly.
            if others * MOST_TO_ONCE >= scored[rarer - 1].0 {
                continue;
            }
            let ranked = self.ranked(connection, &any(scored.iter().map(|(_, expression)| expression)))?;
            let best = best(&ranked, wanted, &mut passes)?;
            let floor = best.last().filter(|_| best.len() >= wanted).map(|(score, _)| *score);
            let is_all = rarer == self.words.len();
            match floor {
                Some(floor) if is_all || others < floor * (1.0 - ROUNDING) => {
                    let least = (floor - others) * (1.0 - ROUNDING);
                    let may_be_best = ranked.into_iter().take_while(|(score, _)| *score >= least);
                    return Ok(may_be_best.map(|(_, row)| row).collect());
                }
                None if is_all => return Ok(best.into_iter().map(|(_, row)| row).collect()),
                _ => {}
            }
        }
        Ok(Vec::new())
    }

    /// The rows that match, with the scores by the words of the expression; best first.
    fn ranked(&self, connection: &Connection, expression: &str) -> Result<Vec<(f64, i64)>, Failed> {
        let mut select = connection.prepare_cached(&format!(
            "SELECT {SCORE}, rowid FROM words WHERE words MATCH ?1 AND rowid BETWEEN ?2 AND ?3"
        ))?;
        let mut ranked = Vec::new();
        for namespace in self.namespaces {
            let (first, last) = rows_of(*namespace);
            let mut rows = select.query(params![expression, first, last])?;
            while let Some(row) = rows.next()? {
                ranked.push((-row.get::<_, f64>(0)?, row.get(1)?));
            }
        }
        ranked.sort_unstable_by(|(a, row): &(f64, i64), (b, other)| {
            b.total_cmp(a).then_with(|| row.cmp(other))
        });
        Ok(ranked)
    }

    /// The BM25 of those of these rows that have a word.
    pub(super) fn scores(
        &self,
        database: &Database,
        connection: &Connection,
        rows: &BTreeSet<i64>,
    ) -> Result<HashMap<i64, f64>, Failed> {
        let rows: Vec<i64> = rows.iter().copied().collect();
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(HashMap::new()) };
        if self.words.is_empty() {
            return Ok(HashMap::new());
        }
        let pieces = if last - first > ROWS_PER_PART { threads() } else { 1 };
        let parts: Vec<&[i64]> = rows.chunks(rows.len().div_ceil(pieces)).collect();
        // FTS5 counts the records of each word for each statement. It must not do so for each row, as it would if the
        // rows were looked up, so they are picked from all matches, which takes a tenth of scoring these.
        let sql = format!(
            "SELECT rowid, {SCORE} FROM words WHERE words MATCH ?1 AND rowid BETWEEN ?2 AND ?3
             AND +rowid IN (SELECT value FROM json_each(?4))"
        );
        let score = |connection: &Connection, rows: &[i64]| {
            let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(Vec::new()) };
            let list = serde_json::to_string(rows).expect("numbers are JSON");
            let mut select = connection.prepare_cached(&sql)?;
            let found = select.query_map(params![self.any, first, last, list], |row| {
                // Rare words of tiny indexes can make scores zero.
                Ok((row.get(0)?, (-row.get::<_, f64>(1)?).max(f64::MIN_POSITIVE)))
            })?;
            Ok(found.collect::<Result<Vec<(i64, f64)>, _>>()?)
        };
        let (scored, ()) = spread(database, connection, parts, score, || Ok(()))?;
        Ok(scored.into_iter().flatten().collect())
    }
}

/// The `wanted` best rows that pass, or fewer.
fn best(
    ranked: &[(f64, i64)],
    wanted: usize,
    mut passes: impl FnMut(i64) -> Result<bool, Failed>,
) -> Result<Vec<(f64, i64)>, Failed> {
    let mut best = Vec::new();
    for (score, row) in ranked {
        if best.len() == wanted {
            break;
        }
        if passes(*row)? {
            best.push((*score, *row));
        }
    }
    Ok(best)
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

/// The FTS5 expressions that match the words.
///
/// Words are letters, digits and marks in quotes, so they cannot inject FTS5 syntax.
fn expressions(words: &Words) -> impl Iterator<Item = String> + '_ {
    words.list().iter().map(|word| format!("\"{}\"{}", word.text, if word.prefix { " *" } else { "" }))
}

/// The expression that matches what any of these does.
fn any<'a>(expressions: impl Iterator<Item = &'a String>) -> String {
    expressions.map(String::as_str).collect::<Vec<_>>().join(" OR ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_words_in_quotes() {
        for (text, expected) in [
            ("how is a deletion guarded?", "\"deletion\" OR \"guarded\""),
            ("NEAR(\"a\" b*) NOT col:x -- ^'", "\"near\" OR \"b\" OR \"col\" OR \"x\""),
            ("犬", "\"犬\" *"),
            ("?! --", ""),
        ] {
            let expressions: Vec<String> = expressions(&Words::new(text)).collect();
            assert_eq!(any(expressions.iter()), expected);
        }
    }
}
