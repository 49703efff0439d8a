//! Search by vector, by words, or by both.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use rusqlite::{Transaction, params};

use crate::model::Match;
use crate::store::{Filter, Query};

use super::database::{Failed, NAMESPACE_SHIFT};
use super::read::metadata;
use super::vector::{dot, norm};
use super::words::match_expression;
use super::write::known_namespace;

/// The constant of reciprocal rank fusion. The larger it is, the less the first ranks differ.
const K: f64 = 60.0;
/// Minimum number of ranks of each list that are fused. Deeper ranks hardly change the first ten
/// results.
const DEPTH: usize = 100;

/// The weight of each list in the fusion; zero leaves it out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Weights {
    pub(super) vectors: f64,
    pub(super) words: f64,
}

/// A row and its score.
#[derive(Debug, Clone, PartialEq)]
struct Found {
    row: i64,
    id: String,
    score: f64,
}

/// The best matches of a namespace.
pub(super) fn query(
    transaction: &Transaction<'_>,
    namespace: &str,
    query: &Query,
    filter: &Filter,
    weights: Weights,
) -> Result<Vec<Match>, Failed> {
    let Some(number) = known_namespace(transaction, namespace)? else {
        return Ok(Vec::new());
    };
    let rows = Rows::new(transaction, number, filter);
    let expression = query.text.as_deref().filter(|_| weights.words > 0.0).and_then(match_expression);
    // If the embedder knows no token of the query, its vector is zero and only the words can rank.
    let length = norm(&query.vector);
    let found = match (expression, length) {
        (None, None) => Vec::new(),
        (None, Some(length)) => rows.by_vector(&query.vector, length, query.top_k)?,
        (Some(expression), length) => {
            let depth = query.top_k.max(DEPTH);
            let near = match length {
                Some(length) if weights.vectors > 0.0 => rows.by_vector(&query.vector, length, depth)?,
                _ => Vec::new(),
            };
            let mut fused = fuse(&near, &rows.by_words(&expression, depth)?, weights);
            fused.truncate(query.top_k);
            fused
        }
    };
    rows.matches(found)
}

/// The rows of a namespace that pass a filter.
struct Rows<'a> {
    transaction: &'a Transaction<'a>,
    first: i64,
    last: i64,
    filter: &'a Filter,
}

impl<'a> Rows<'a> {
    fn new(transaction: &'a Transaction<'a>, number: i64, filter: &'a Filter) -> Self {
        let first = number << NAMESPACE_SHIFT;
        Self { transaction, first, last: first + (1 << NAMESPACE_SHIFT) - 1, filter }
    }

    /// Ranks by cosine similarity. Exact: every vector of the namespace is compared.
    fn by_vector(&self, vector: &[f32], length: f32, most: usize) -> Result<Vec<Found>, Failed> {
        let mut scan = self
            .transaction
            .prepare_cached("SELECT row, norm, vector FROM vectors WHERE row BETWEEN ?1 AND ?2")?;
        let mut rows = scan.query(params![self.first, self.last])?;
        let mut scored = Vec::new();
        while let Some(row) = rows.next()? {
            let norm: f32 = row.get(1)?;
            let product = dot(row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?, vector);
            scored.push(Scored { score: product / (norm * length), row: row.get(0)? });
        }
        // Filters are evaluated best first until enough rows pass, since a filter costs more than a
        // dot product.
        let mut heap = BinaryHeap::from(scored);
        let best = std::iter::from_fn(move || heap.pop().map(|one| Ok((one.row, f64::from(one.score)))));
        self.passing(best, most)
    }

    /// Ranks by BM25.
    fn by_words(&self, expression: &str, most: usize) -> Result<Vec<Found>, Failed> {
        let mut search = self.transaction.prepare_cached(
            "SELECT rowid, rank FROM words WHERE words MATCH ?1 AND rowid BETWEEN ?2 AND ?3 ORDER BY rank",
        )?;
        let best = search.query_map(params![expression, self.first, self.last], |row| {
            Ok((row.get(0)?, -row.get::<_, f64>(1)?)) // FTS5 ranks are negative, best first
        })?;
        self.passing(best, most)
    }

    /// The first `most` rows that pass the filter. Equal scores are ordered by id, so that results
    /// do not depend on the order of writes.
    fn passing(
        &self,
        best_first: impl Iterator<Item = Result<(i64, f64), rusqlite::Error>>,
        most: usize,
    ) -> Result<Vec<Found>, Failed> {
        let mut select =
            self.transaction.prepare_cached("SELECT id, facts, text FROM records WHERE row = ?1")?;
        let mut found: Vec<Found> = Vec::new();
        for next in best_first {
            let (row, score) = next?;
            if found.len() >= most && found.last().is_none_or(|last| score < last.score) {
                break;
            }
            let id = select.query_row([row], |record| {
                let passes = self.filter.is_empty() || {
                    let facts = record.get_ref(1)?.as_str()?;
                    self.filter.matches(&metadata(facts, record.get(2)?))
                };
                Ok(if passes { Some(record.get(0)?) } else { None })
            })?;
            found.extend(id.map(|id| Found { row, id, score }));
        }
        found.sort_by(best_then_id);
        found.truncate(most);
        Ok(found)
    }

    fn matches(&self, found: Vec<Found>) -> Result<Vec<Match>, Failed> {
        let mut select = self.transaction.prepare_cached("SELECT facts, text FROM records WHERE row = ?1")?;
        let mut matches = Vec::with_capacity(found.len());
        for Found { row, id, score } in found {
            let metadata = select
                .query_row([row], |record| Ok(metadata(record.get_ref(0)?.as_str()?, record.get(1)?)))?;
            matches.push(Match { id, score, metadata });
        }
        Ok(matches)
    }
}

/// Reciprocal rank fusion, scaled so that a record that is first in every list scores 1.
fn fuse(near: &[Found], wordy: &[Found], weights: Weights) -> Vec<Found> {
    let most = (weights.vectors + weights.words) / (K + 1.0);
    let mut fused: HashMap<i64, Found> = HashMap::with_capacity(near.len() + wordy.len());
    for (list, weight) in [(near, weights.vectors), (wordy, weights.words)] {
        for (rank, one) in (1u32..).zip(list) {
            let share = weight / (K + f64::from(rank)) / most;
            let entry = fused.entry(one.row).or_insert_with(|| Found { score: 0.0, ..one.clone() });
            entry.score += share;
        }
    }
    let mut fused: Vec<Found> = fused.into_values().collect();
    fused.sort_by(best_then_id);
    fused
}

fn best_then_id(a: &Found, b: &Found) -> Ordering {
    b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id))
}

/// A row's cosine similarity. Ordered so that the nearest is the greatest.
#[derive(Debug, PartialEq)]
struct Scored {
    score: f32,
    row: i64,
}

impl Eq for Scored {}

impl Ord for Scored {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then_with(|| other.row.cmp(&self.row))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(ids: &[&str]) -> Vec<Found> {
        (0..)
            .zip(ids)
            .map(|(at, id)| Found {
                row: i64::from(id.as_bytes()[0]),
                id: (*id).into(),
                score: f64::from(-at),
            })
            .collect()
    }

    fn order(near: &[&str], wordy: &[&str], weights: Weights) -> String {
        fuse(&list(near), &list(wordy), weights).into_iter().map(|one| one.id).collect()
    }

    #[test]
    fn fusion_prefers_what_both_lists_have() {
        let even = Weights { vectors: 1.0, words: 1.0 };
        assert_eq!(order(&["a", "b", "c"], &["d", "b", "e"], even), "badce");
        assert_eq!(order(&["a"], &[], even), "a");
        let wordy = Weights { vectors: 0.5, words: 1.0 };
        assert_eq!(order(&["a", "b"], &["c", "d"], wordy), "cdab");
    }

    #[test]
    fn first_in_both_lists_is_one() {
        let both = fuse(&list(&["a"]), &list(&["a"]), Weights { vectors: 0.7, words: 1.0 });
        assert!((both[0].score - 1.0).abs() < 1e-12);
    }
}
