//! What stores give to the ranking.

use serde_json::{Map, Value};

/// A chunk that may be an answer.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The record's id.
    pub id: String,
    /// The stored metadata; foreign records may have any fields.
    pub metadata: Map<String, Value>,
    /// Cosine similarity to the query; `None`: not compared.
    pub cosine: Option<f64>,
    /// The mean of the best cosines of the chunk's file; `None`: not known to the store.
    pub file_cosine: Option<f64>,
    /// BM25 over the words of the query; 0: none of them occurs, or the store has no words.
    pub bm25: f64,
}

impl Candidate {
    /// A field of the metadata as text; empty if absent.
    pub fn text(&self, key: &str) -> &str {
        self.metadata.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// What identifies the chunk's file.
    pub fn file(&self) -> (&str, &str, &str) {
        (self.text("project"), self.text("repository"), self.text("file_path"))
    }
}

/// Mean and maximum of a measure over everything that was searched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// The mean.
    pub mean: f64,
    /// The maximum.
    pub max: f64,
    /// How many values the mean is of.
    pub count: u64,
}

impl Span {
    /// The span of values; `None` if there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let (mut sum, mut max, mut count) = (0.0, f64::NEG_INFINITY, 0u64);
        for value in values {
            sum += value;
            max = f64::max(max, value);
            count += 1;
        }
        #[expect(clippy::cast_precision_loss, reason = "a count of chunks")]
        (count > 0).then(|| Self { mean: sum / count as f64, max, count })
    }

    /// The span of the values of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "counts of chunks")]
        let (a, b) = (self.count as f64, other.count as f64);
        let mean = if a + b > 0.0 { (self.mean * a + other.mean * b) / (a + b) } else { self.mean };
        Self { mean, max: self.max.max(other.max), count: self.count + other.count }
    }

    /// Where a value stands between mean (0) and maximum (1); 0 if these are the same. Values below
    /// the mean are negative.
    pub(super) fn place(self, value: f64) -> f64 {
        let width = self.max - self.mean;
        if width > 0.0 { (value - self.mean) / width } else { 0.0 }
    }
}

/// The scale of the cosines of a search.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Scale {
    /// Of all chunks; `None`: the store does not compare all of them, so the mean is estimated.
    pub chunks: Option<Span>,
    /// Of the mean of the best cosines of each file.
    pub files: Option<Span>,
}

/// The candidates of a search, in any order.
#[derive(Debug, Clone, Default)]
pub struct Candidates {
    /// The candidates.
    pub list: Vec<Candidate>,
    /// The scale of their cosines.
    pub scale: Scale,
    /// What the store could not do.
    pub notes: Vec<String>,
}

impl Candidates {
    /// Adds the candidates of another store with vectors of the same model: one scale for both.
    pub fn add(&mut self, other: Self) {
        let both = |a: Option<Span>, b: Option<Span>| match (a, b) {
            (Some(a), Some(b)) => Some(a.and(b)),
            // A mean that is known is a better estimate than none.
            (one, None) | (None, one) => one,
        };
        self.scale = Scale {
            chunks: both(self.scale.chunks, other.scale.chunks),
            files: both(self.scale.files, other.scale.files),
        };
        self.list.extend(other.list);
        for note in other.notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn spans_add_up(a in proptest::collection::vec(-1.0f64..1.0, 1..20), b in proptest::collection::vec(-1.0f64..1.0, 1..20)) {
            let sum = Span::of(a.iter().copied()).unwrap().and(Span::of(b.iter().copied()).unwrap());
            let whole = Span::of(a.iter().chain(&b).copied()).unwrap();
            prop_assert!((sum.mean - whole.mean).abs() < 1e-9);
            prop_assert_eq!((sum.max, sum.count), (whole.max, whole.count));
        }

        #[test]
        fn nothing_is_above_the_maximum(values in proptest::collection::vec(-1.0f64..1.0, 1..20)) {
            let span = Span::of(values.iter().copied()).unwrap();
            for value in &values {
                prop_assert!(span.place(*value) <= 1.0 + 1e-9);
            }
        }
    }
}
