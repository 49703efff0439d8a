//! How `kind = "azure-openai"` is built, and what its vectors depend on.

use std::sync::Arc;

use super::azure_embedder;
use super::settings::AzureSettings;
use crate::embed::{Embedder, EmbedderConfig};
use crate::model::{StageResult, parse_endpoint};
use crate::stage::StageContext;

impl EmbedderConfig for AzureSettings {
    fn build(&self, context: StageContext) -> StageResult<Arc<dyn Embedder>> {
        let embedder = azure_embedder(&context.stage, self, context.calls, context.cancel, context.events)?;
        let embedder = embedder.with_timeouts(context.timeouts);
        Ok(Arc::new(embedder.with_allowances(context.allowances.as_ref())))
    }

    fn identity(&self) -> Option<Vec<String>> {
        let endpoint = parse_endpoint(&self.endpoint).ok()?;
        let dimensions = self.dimensions.map_or_else(String::new, |n| n.to_string());
        Some(vec![endpoint.into(), self.deployment.clone(), dimensions])
    }

    fn dimensions(&self) -> Option<usize> {
        self.dimensions.map(|n| n as usize)
    }

    fn price(&self) -> Option<f64> {
        self.price_per_million_tokens
    }
}
