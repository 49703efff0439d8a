//! How `kind = "code"` is built.

use std::sync::Arc;

use super::CodeChunker;
use super::settings::CodeSettings;
use crate::chunk::{Chunker, ChunkerConfig, ChunkerContext};
use crate::model::StageResult;

impl ChunkerConfig for CodeSettings {
    fn build(&self, context: &ChunkerContext<'_>) -> StageResult<Arc<dyn Chunker>> {
        Ok(Arc::new(CodeChunker::new(context.stage, self, Some(context.counter.clone()))?))
    }

    fn patterns(&self) -> Option<&[String]> {
        self.patterns.as_deref()
    }
}
