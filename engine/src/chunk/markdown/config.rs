//! How `kind = "markdown"` is built.

use std::sync::Arc;

use super::MarkdownChunker;
use super::settings::MarkdownSettings;
use crate::chunk::{Chunker, ChunkerConfig, ChunkerContext};
use crate::model::StageResult;

impl ChunkerConfig for MarkdownSettings {
    fn build(&self, context: &ChunkerContext<'_>) -> StageResult<Arc<dyn Chunker>> {
        Ok(Arc::new(MarkdownChunker::new(context.stage, self, Some(context.counter.clone()))?))
    }

    fn patterns(&self) -> Option<&[String]> {
        self.patterns.as_deref()
    }
}
