//! How `kind = "sentence"` is built.

use std::sync::Arc;

use super::SentenceChunker;
use super::settings::SentenceSettings;
use crate::chunk::{Chunker, ChunkerConfig, ChunkerContext};
use crate::model::StageResult;

impl ChunkerConfig for SentenceSettings {
    fn build(&self, context: &ChunkerContext<'_>) -> StageResult<Arc<dyn Chunker>> {
        Ok(Arc::new(SentenceChunker::new(context.stage, self, Some(context.counter.clone()))?))
    }

    fn patterns(&self) -> Option<&[String]> {
        self.patterns.as_deref()
    }
}
