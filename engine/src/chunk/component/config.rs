//! How `kind = "wasm"` is built.

use std::sync::Arc;

use super::location::Location;
use super::settings::WasmSettings;
use crate::chunk::{Chunker, ChunkerConfig, ChunkerContext};
use crate::model::StageResult;

impl ChunkerConfig for WasmSettings {
    fn build(&self, context: &ChunkerContext<'_>) -> StageResult<Arc<dyn Chunker>> {
        let host = context.host()?;
        let tokens = context.tokens.clone().unwrap_or_default();
        Ok(Arc::new(host.load_with(context.stage, self, context.fetched, tokens)?))
    }

    fn patterns(&self) -> Option<&[String]> {
        self.patterns.as_deref()
    }

    fn component(&self) -> Option<&Location> {
        Some(&self.component)
    }

    fn sha256(&self) -> Option<&str> {
        self.sha256.as_deref()
    }
}
