//! How `kind = "sqlite"` is built, and where its vectors lie.

use std::path::Path;
use std::sync::Arc;

use super::SqliteStore;
use super::settings::SqliteSettings;
use crate::model::StageResult;
use crate::stage::StageContext;
use crate::store::{StoreConfig, VectorStore};

impl StoreConfig for SqliteSettings {
    fn build(&self, context: StageContext) -> StageResult<Arc<dyn VectorStore>> {
        let store = SqliteStore::open(context.stage, &self.path);
        Ok(Arc::new(store.weigh(self.vector_weight, self.text_weight).with_penalties(self.penalties)))
    }

    fn place(&self) -> Vec<String> {
        vec![self.path.display().to_string()]
    }

    fn location(&self) -> Option<Vec<String>> {
        Some(vec![self.path.to_string_lossy().into_owned()])
    }

    fn database(&self) -> Option<(&'static str, &Path)> {
        Some(("path", &self.path))
    }
}
