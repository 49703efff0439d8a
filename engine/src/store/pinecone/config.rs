//! How `kind = "pinecone"` is built, and where its vectors lie.

use std::sync::Arc;

use super::PineconeStore;
use super::settings::PineconeSettings;
use crate::model::{StageResult, parse_endpoint};
use crate::stage::StageContext;
use crate::store::{StoreConfig, VectorStore};

impl StoreConfig for PineconeSettings {
    fn build(&self, context: StageContext) -> StageResult<Arc<dyn VectorStore>> {
        let store = PineconeStore::new(context.stage, self, context.calls, context.cancel, context.events)?;
        let store = store.with_timeouts(context.timeouts);
        Ok(Arc::new(store.with_allowances(context.allowances.as_ref())))
    }

    fn place(&self) -> Vec<String> {
        vec![self.api_url.clone(), self.host.clone().unwrap_or_default(), self.index.clone()]
    }

    fn location(&self) -> Option<Vec<String>> {
        Some(match &self.host {
            Some(host) => vec![parse_endpoint(host).ok()?.into()],
            // An index name is unique within the account of an API key.
            None => vec![
                parse_endpoint(&self.api_url).ok()?.into(),
                self.index.clone(),
                self.api_key.expose().to_owned(),
            ],
        })
    }
}
