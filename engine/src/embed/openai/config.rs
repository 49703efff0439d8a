//! How `kind = "openai"` is built, and what its vectors depend on.

use std::sync::Arc;

use super::settings::OpenAiSettings;
use super::{known_dimensions, openai_embedder};
use crate::embed::purpose::Purposes;
use crate::embed::{Embedder, EmbedderConfig};
use crate::model::{StageResult, parse_endpoint};
use crate::stage::StageContext;

impl EmbedderConfig for OpenAiSettings {
    fn build(&self, context: StageContext) -> StageResult<Arc<dyn Embedder>> {
        let embedder = openai_embedder(&context.stage, self, context.calls, context.cancel, context.events)?;
        let embedder = embedder.with_timeouts(context.timeouts);
        Ok(Arc::new(embedder.with_allowances(context.allowances.as_ref())))
    }

    fn identity(&self) -> Option<Vec<String>> {
        let endpoint = parse_endpoint(&self.base_url).ok()?;
        let dimensions = self.dimensions.map_or_else(String::new, |n| n.to_string());
        let document = self.document_prefix.as_deref();
        let purposes = Purposes::new(document, None, self.input_type).identity();
        let parts = [endpoint.into(), self.model.clone(), dimensions];
        Some(parts.into_iter().chain(purposes).collect())
    }

    fn dimensions(&self) -> Option<usize> {
        self.dimensions.map(|n| n as usize).or_else(|| known_dimensions(&self.model))
    }

    fn price(&self) -> Option<f64> {
        self.price_per_million_tokens
    }
}
