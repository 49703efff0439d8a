//! Settings of `kind = "markdown"`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::chunk::sizes::check_tokens;
use crate::settings::Checker;
use crate::stage::{StageConfig, edit_costs};

/// `kind = "markdown"`: sections; code fences, tables and lists are kept whole if they fit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MarkdownSettings {
    /// Globs of the files this stage takes. Default: Markdown files.
    #[serde(rename = "match")]
    pub patterns: Option<Vec<String>>,
    /// Maximum size of a chunk in characters.
    pub max_chunk_size: usize,
    /// Maximum size of a chunk in tokens; replaces `max_chunk_size`.
    pub max_tokens: Option<usize>,
}

impl Default for MarkdownSettings {
    fn default() -> Self {
        Self { patterns: None, max_chunk_size: 1500, max_tokens: None }
    }
}

impl StageConfig for MarkdownSettings {
    const KIND: &'static str = "markdown";

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
