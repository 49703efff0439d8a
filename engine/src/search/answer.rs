//! What a search answers.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::Freshness;
use crate::rank::Snippet;

/// The matches of a search, best first.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Answer {
    /// The matches.
    pub matches: Vec<Found>,
    /// True if even the best match is hardly better than one for a question without an answer.
    #[serde(default)]
    pub weak: bool,
    /// How current the index of each repository with a match is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<Freshness>,
    /// What could not be searched, and why scores of matches may not be comparable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A match.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Found {
    /// The record's id.
    pub id: String,
    /// The score: about 1 for a chunk that is first by every measure, 0 for an average one.
    pub score: f64,
    /// Cosine similarity of query and chunk; `None`: vectors were not compared.
    #[serde(default)]
    pub similarity: Option<f64>,
    /// BM25 of the query's words; 0: none of them occurs.
    #[serde(default)]
    pub bm25: f64,
    /// The stored metadata; foreign records may have any fields.
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// The lines with most words of the query.
    #[serde(default)]
    pub snippet: Snippet,
    /// Further matches in the same file that are not shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<More>,
    /// Chunks before and after the match, in order, without the match itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub neighbours: Vec<Neighbour>,
    /// The whole symbol that the match is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expanded: Option<Neighbour>,
    /// The terms of the score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub terms: Option<Value>,
}

/// A match that is not shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct More {
    /// First line.
    pub start_line: u64,
    /// Last line.
    pub end_line: u64,
    /// Its score.
    pub score: f64,
}

/// A piece of the file around a match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Neighbour {
    /// First line.
    pub start_line: u64,
    /// Last line.
    pub end_line: u64,
    /// The text.
    pub text: String,
}

impl Found {
    /// A field of the metadata as text; empty if absent.
    pub fn text(&self, key: &str) -> &str {
        self.metadata.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// First and last line in the file, if known.
    pub fn lines(&self) -> Option<(u64, u64)> {
        Some((number(&self.metadata, "start_line")?, number(&self.metadata, "end_line")?))
    }
}

/// A number of the metadata. Remote stores return numbers as floats.
pub(super) fn number(metadata: &Map<String, Value>, key: &str) -> Option<u64> {
    let value = metadata.get(key)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a line number; saturates")]
    value.as_u64().or_else(|| value.as_f64().map(|line| line as u64))
}
