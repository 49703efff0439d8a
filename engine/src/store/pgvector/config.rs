//! How `kind = "pgvector"` is built, and where its vectors lie.

use std::sync::Arc;

use crate::model::StageResult;
use crate::stage::StageContext;
use crate::store::{StoreConfig, VectorStore};

use super::PgvectorStore;
use super::settings::PgvectorSettings;

impl StoreConfig for PgvectorSettings {
    fn build(&self, context: StageContext) -> StageResult<Arc<dyn VectorStore>> {
        let store = PgvectorStore::new(context.stage, self, context.calls, context.cancel, context.events)?;
        Ok(Arc::new(store.with_timeouts(context.timeouts)))
    }

    fn place(&self) -> Vec<String> {
        vec![self.address().map(|url| url.location()).unwrap_or_default(), self.table.clone()]
    }

    fn location(&self) -> Option<Vec<String>> {
        Some(vec![self.address().ok()?.location(), self.table.clone()])
    }
}
