//! How `kind = "pattern"` is built.

use std::sync::Arc;

use super::PatternChunker;
use super::settings::PatternSettings;
use crate::chunk::{Chunker, ChunkerConfig, ChunkerContext};
use crate::model::StageResult;

impl ChunkerConfig for PatternSettings {
    fn build(&self, context: &ChunkerContext<'_>) -> StageResult<Arc<dyn Chunker>> {
        Ok(Arc::new(PatternChunker::new(context.stage, self, Some(context.counter.clone()))?))
    }

    fn patterns(&self) -> Option<&[String]> {
        Some(&self.patterns)
    }
}
