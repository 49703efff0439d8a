//! A chunker without a project, for those who try out its settings.

use std::sync::Arc;

use super::{StageFactory, stage};
use crate::chunk::{Chunker, TokenCounter};
use crate::config::Config;
use crate::embed::Embedder;
use crate::model::StageResult;

/// A chunker, and what counts its tokens.
pub struct LoneChunker {
    /// The chunker.
    pub chunker: Arc<dyn Chunker>,
    /// The embedder of a project that uses the stage, whose tokens are counted. `None`: no such
    /// project, or its embedder lacks a variable; tokens are then estimated.
    pub embedder: Option<Arc<dyn Embedder>>,
}

impl LoneChunker {
    /// Counts tokens as the embedder does, else estimates them: four bytes each.
    pub fn counter(&self) -> TokenCounter {
        counter(self.embedder.as_ref())
    }
}

impl StageFactory {
    /// The chunker of this stage. Blocks while a component is compiled.
    pub fn lone_chunker(&self, config: &Config, name: &str) -> StageResult<LoneChunker> {
        let embedder = config
            .projects
            .iter()
            .filter(|project| project.chunkers.iter().any(|chunker| chunker == name))
            .filter_map(|project| config.stage(&project.embedder))
            .find_map(|stage| stage.settings.embedder()?.build(self.context(config, stage)).ok());
        let counter = counter(embedder.as_ref());
        let chunker = self.chunker_counting(config, stage(config, name)?, counter, embedder.as_ref())?;
        Ok(LoneChunker { chunker, embedder })
    }
}

fn counter(embedder: Option<&Arc<dyn Embedder>>) -> TokenCounter {
    match embedder.map(Arc::clone) {
        Some(embedder) => Arc::new(move |text: &str| embedder.measure_tokens(text)),
        None => Arc::new(|text: &str| text.len().div_ceil(4)),
    }
}
