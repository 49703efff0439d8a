//! Settings of `kind = "code"`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::chunk::sizes::check_tokens;
use crate::settings::Checker;
use crate::stage::{StageConfig, edit_costs};

/// `kind = "code"`: chunks along the syntax, named after their symbols; along lines without a
/// grammar.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CodeSettings {
    /// Globs of the files this stage takes. Default: all files of code, configuration or data, by
    /// file name, and scripts by their first line (`#!/bin/sh`).
    #[serde(rename = "match")]
    pub patterns: Option<Vec<String>>,
    /// Maximum size of a chunk in characters.
    pub max_chunk_size: usize,
    /// Maximum size of a chunk in tokens; replaces `max_chunk_size`.
    pub max_tokens: Option<usize>,
}

impl Default for CodeSettings {
    fn default() -> Self {
        Self { patterns: None, max_chunk_size: 1500, max_tokens: None }
    }
}

impl StageConfig for CodeSettings {
    const KIND: &'static str = "code";

    edit_costs! {
        index: patterns, max_chunk_size, max_tokens;
    }

    fn check(&mut self, check: &mut Checker<'_>) {
        check.globs("match");
        check.positive("max_chunk_size", &self.max_chunk_size);
        check_tokens(check, self.max_tokens, None);
    }

    fn adjust_shown(&self, shown: &mut Map<String, Value>) {
        if self.max_tokens.is_some() {
            shown.shift_remove("max_chunk_size");
        }
    }
}
