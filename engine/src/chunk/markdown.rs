//! `kind = "markdown"`.

use super::lines::Lines;
use super::size::Size;
use super::{ChunkError, Chunker, MarkdownSettings, TokenCounter, language_of, matcher};
use crate::model::{Chunk, Document, PathMatcher, StageResult};

/// Changes when the same document and settings would give other chunks.
const VERSION: u32 = 1;

/// Cuts Markdown along its headings and blocks.
pub struct MarkdownChunker {
    stage: String,
    identity: String,
    label: String,
    patterns: Option<PathMatcher>,
    size: Size,
}

impl MarkdownChunker {
    /// `counter` is needed where the settings name `max_tokens`: it counts as the embedder does.
    pub fn new(stage: &str, settings: &MarkdownSettings, counter: Option<TokenCounter>) -> StageResult<Self> {
        let size = super::size_of(stage, settings.max_chunk_size, settings.max_tokens, counter)?;
        Ok(Self {
            identity: format!("markdown/{VERSION} {}", size.describe()),
            label: format!("markdown {VERSION}"),
            patterns: matcher(stage, settings.patterns.as_deref())?,
            stage: stage.to_owned(),
            size,
        })
    }
}

impl Chunker for MarkdownChunker {
    fn stage(&self) -> &str {
        &self.stage
    }

    fn identity(&self) -> &str {
        &self.identity
    }

    fn label(&self) -> &str {
        &self.label
    }

    fn matches(&self, path: &str) -> bool {
        match &self.patterns {
            Some(patterns) => patterns.matches(path),
            None => language_of(path) == Some("markdown"),
        }
    }

    fn chunk(&self, document: &Document<'_>) -> Result<Vec<Chunk>, ChunkError> {
        let ruler = self.size.ruler(document.text);
        let lines = Lines::new(&ruler);
        Ok(lines.split(0..lines.count()).into_iter().map(Chunk::slice).collect())
    }
}
