//! How `kind = "local"` is built, and what its vectors depend on.

use std::sync::Arc;

use super::settings::LocalSettings;
use super::{EMBEDDED_DIMENSIONS, LocalEmbedder};
use crate::embed::{Embedder, EmbedderConfig};
use crate::model::StageResult;
use crate::stage::StageContext;

impl EmbedderConfig for LocalSettings {
    fn build(&self, context: StageContext) -> StageResult<Arc<dyn Embedder>> {
        Ok(Arc::new(match &self.path {
            Some(path) => LocalEmbedder::from_folder(context.stage, path)?,
            None => LocalEmbedder::embedded(context.stage),
        }))
    }

    fn identity(&self) -> Option<Vec<String>> {
        let path = self.path.as_ref().map_or_else(String::new, |path| path.to_string_lossy().into_owned());
        Some(vec![path])
    }

    fn is_local(&self) -> bool {
        self.path.is_some()
    }

    fn is_free(&self) -> bool {
        true
    }

    fn dimensions(&self) -> Option<usize> {
        self.path.is_none().then_some(EMBEDDED_DIMENSIONS)
    }

    fn price(&self) -> Option<f64> {
        Some(0.0)
    }
}
