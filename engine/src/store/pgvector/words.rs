//! BM25, with the formula and the weights of the embedded store's full-text search.

use std::collections::HashMap;

use crate::postgres::{Failure, Transaction};
use crate::rank::Words;

use super::database::Database;
use super::sql::Sql;

/// Saturation and normalisation by length.
const K1: f64 = 1.2;
const B: f64 = 0.75;
/// Chunks are found by the rarest words of a query, whose occurrences add up to this number at most; the other words
/// count for their scores. The rarest word is used however often it occurs.
const MOST_FOUND: i64 = 10_000;

/// The words of a query with their weights.
pub(super) struct Weighed {
    words: Vec<String>,
    weights: Vec<f64>,
    /// The words by which chunks are found.
    rare: Vec<String>,
    /// Mean number of words of a chunk.
    average: f64,
}

/// What is counted of the namespaces that are searched.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Size {
    pub(super) chunks: i64,
    pub(super) tokens: i64,
}

impl Weighed {
    /// `None` if no chunk has one of the words.
    pub(super) async fn new(
        db: &Database,
        transaction: &Transaction,
        words: &Words,
        namespaces: Vec<i32>,
        size: Size,
    ) -> Result<Option<Self>, Failure> {
        let tokens: Vec<String> = words.list().iter().map(crate::rank::Word::token).collect();
        let sql = format!(
            "SELECT word, sum(chunks)::bigint FROM {} WHERE namespace = ANY($1) AND word = ANY($2) GROUP BY word",
            db.names.frequencies()
        );
        let rows = transaction.rows(&sql, &[&namespaces, &tokens]).await?;
        let mut found: HashMap<String, i64> = HashMap::new();
        for row in rows {
            found.insert(row.get(0), row.get(1));
        }
        let mut known: Vec<(String, i64)> = found.into_iter().filter(|(_, chunks)| *chunks > 0).collect();
        // The order of words decides nothing but the sum's last digits; it must not change from call to call.
        known.sort_by(|(a, few), (b, more)| few.cmp(more).then_with(|| a.cmp(b)));
        if known.is_empty() || size.chunks <= 0 {
            return Ok(None);
        }
        let mut sum = 0;
        let rare = known.iter().take_while(|(_, chunks)| {
            let is_first = sum == 0;
            sum += chunks;
            is_first || sum <= MOST_FOUND
        });
        let rare = rare.map(|(word, _)| word.clone()).collect();
        let total = size.chunks as f64;
        let weights = known.iter().map(|(_, chunks)| inverse_frequency(total, *chunks as f64)).collect();
        let words = known.into_iter().map(|(word, _)| word).collect();
        Ok(Some(Self { words, weights, rare, average: (size.tokens as f64 / total).max(1.0) }))
    }

    /// The condition on the columns of words `w` that a chunk has one of the rarest words.
    pub(super) fn condition(&self, sql: &mut Sql) -> String {
        format!("w.words && {}", sql.arg(self.rare.clone()))
    }

    /// The score by the columns of words `w`; 0 or NULL without any of the words.
    pub(super) fn score(&self, sql: &mut Sql) -> String {
        // Not a join with the words of the query, which takes twice as long for each chunk.
        let average = sql.arg(self.average);
        let share = 1.0 - B;
        let length = format!("({K1} * ({share} + {B} * w.length / {average}))");
        let terms = self.words.iter().zip(&self.weights).map(|(word, weight)| {
            let (word, gain) = (sql.arg(word.clone()), sql.arg(weight * (K1 + 1.0)));
            format!("coalesce({gain} / (1 + {length} / w.counts[array_position(w.words, {word})]), 0)")
        });
        format!("({})", terms.collect::<Vec<_>>().join(" + "))
    }
}

/// The weight of a word that `chunks` of `total` chunks have; never zero, so that a word of every chunk of a tiny
/// index is found, too.
fn inverse_frequency(total: f64, chunks: f64) -> f64 {
    let weight = ((total - chunks + 0.5) / (chunks + 0.5)).ln();
    if weight > 0.0 { weight } else { 1e-6 }
}
