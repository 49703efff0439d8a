//! How `kind = "wasm"` is built.

use std::path::Path;
use std::sync::Arc;

use super::settings::WasmSettings;
use crate::chunk::{Chunker, ChunkerConfig, ChunkerContext};
use crate::model::StageResult;

impl ChunkerConfig for WasmSettings {
    fn build(&self, context: &ChunkerContext<'_>) -> StageResult<Arc<dyn Chunker>> {
        Ok(Arc::new(context.host()?.load(context.stage, self)?))
    }

    fn patterns(&self) -> Option<&[String]> {
        self.patterns.as_deref()
    }

    fn component(&self) -> Option<&Path> {
        Some(&self.component)
    }
}
