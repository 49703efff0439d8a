//! What a kind of store declares in addition to its settings.

use std::path::Path;
use std::sync::Arc;

use super::VectorStore;
use crate::model::StageResult;
use crate::stage::{AnyStageConfig, StageContext};

/// The settings of a store.
pub trait StoreConfig: AnyStageConfig {
    /// Builds the store. Asks nothing of a service and opens no file yet.
    fn build(&self, context: StageContext) -> StageResult<Arc<dyn VectorStore>>;

    /// What the file says of where vectors lie. Part of the basis of a project: where it differs,
    /// every repository is inspected again.
    fn place(&self) -> Vec<String>;

    /// Equal for stages that surely write to the same index; `None` if only the service knows.
    /// Never shown, since it may hold a key.
    fn location(&self) -> Option<Vec<String>>;

    /// The database that the store writes, if it is a local file, with the key that names it.
    fn database(&self) -> Option<(&'static str, &Path)> {
        None
    }
}
