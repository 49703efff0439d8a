//! Settings of `kind = "sentence"`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::chunk::sizes::{check_overlap, check_tokens};
use crate::settings::Checker;
use crate::stage::{StageConfig, edit_costs};

/// `kind = "sentence"`: overlapping windows that end after blank lines, lines and sentences.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SentenceSettings {
    /// Globs of the files this stage takes. Default: all files.
    #[serde(rename = "match")]
    pub patterns: Option<Vec<String>>,
    /// Maximum size of a chunk in characters.
    pub max_chunk_size: usize,
    /// Maximum overlap of neighbouring chunks in characters; less than `max_chunk_size`.
    pub chunk_overlap: usize,
    /// Maximum size of a chunk in tokens; replaces `max_chunk_size`.
    pub max_tokens: Option<usize>,
    /// Maximum overlap of neighbouring chunks in tokens; less than `max_tokens`. Default: a fifth
    /// of `max_tokens`.
    pub overlap_tokens: Option<usize>,
    /// Collapse runs of spaces and tabs into one space, and runs of empty lines into one.
    pub normalize_whitespace: bool,
}

impl SentenceSettings {
    /// Maximum overlap of neighbouring chunks, in the unit of the size.
    pub fn overlap(&self) -> usize {
        match self.max_tokens {
            // The default overlap in characters is a fifth as well.
            Some(max) => self.overlap_tokens.unwrap_or(max / 5),
            None => self.chunk_overlap,
        }
    }
}

impl Default for SentenceSettings {
    fn default() -> Self {
        Self {
            patterns: None,
            max_chunk_size: 1000,
            chunk_overlap: 200,
            max_tokens: None,
            overlap_tokens: None,
            normalize_whitespace: true,
        }
    }
}

impl StageConfig for SentenceSettings {
    const KIND: &'static str = "sentence";

    edit_costs! {
        index: patterns, max_chunk_size, chunk_overlap, max_tokens, overlap_tokens, normalize_whitespace;
    }

    fn check(&mut self, check: &mut Checker<'_>) {
        check.globs("match");
        check.positive("max_chunk_size", &self.max_chunk_size);
        if self.max_tokens.is_none() {
            let keys = ["chunk_overlap", "max_chunk_size"];
            check_overlap(check, keys, self.chunk_overlap, self.max_chunk_size);
        }
        check_tokens(check, self.max_tokens, self.overlap_tokens);
        if self.max_tokens.is_some() {
            self.overlap_tokens = Some(self.overlap());
        }
    }

    fn adjust_shown(&self, shown: &mut Map<String, Value>) {
        let tokens = self.max_tokens.is_some();
        let unused: &[&str] = if tokens { &["max_chunk_size", "chunk_overlap"] } else { &["overlap_tokens"] };
        shown.retain(|key, _| !unused.contains(&key.as_str()));
    }
}
