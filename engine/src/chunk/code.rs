//! `kind = "code"`.

use super::lines::Lines;
use super::size::Size;
use super::{ChunkError, Chunker, CodeSettings, TokenCounter, language_of, matcher};
use crate::model::{Chunk, Document, PathMatcher, StageResult};

/// Changes when the same document and settings would give other chunks.
const VERSION: u32 = 1;

/// Cuts source code along its syntax.
pub struct CodeChunker {
    stage: String,
    identity: String,
    label: String,
    patterns: Option<PathMatcher>,
    size: Size,
}

impl CodeChunker {
    /// `counter` is needed where the settings name `max_tokens`: it counts as the embedder does.
    pub fn new(stage: &str, settings: &CodeSettings, counter: Option<TokenCounter>) -> StageResult<Self> {
        let size = super::size_of(stage, settings.max_chunk_size, settings.max_tokens, counter)?;
        Ok(Self {
            identity: format!("code/{VERSION} {}", size.describe()),
            label: format!("code {VERSION}"),
            patterns: matcher(stage, settings.patterns.as_deref())?,
            stage: stage.to_owned(),
            size,
        })
    }
}

impl Chunker for CodeChunker {
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
            None => matches!(
                language_of(path),
                Some("rust" | "python" | "javascript" | "typescript" | "tsx" | "go" | "java" | "c" | "cpp")
            ),
        }
    }

    fn chunk(&self, document: &Document<'_>) -> Result<Vec<Chunk>, ChunkError> {
        let ruler = self.size.ruler(document.text);
        let lines = Lines::new(&ruler);
        Ok(lines.split(0..lines.count()).into_iter().map(Chunk::slice).collect())
    }
}
