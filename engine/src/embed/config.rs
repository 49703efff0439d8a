//! What a kind of embedder declares in addition to its settings.

use std::sync::Arc;

use super::Embedder;
use crate::model::StageResult;
use crate::stage::{AnyStageConfig, StageContext};

/// The settings of an embedder.
pub trait EmbedderConfig: AnyStageConfig {
    /// Builds the embedder. Asks nothing of a service yet; a model in a folder is read, which blocks.
    fn build(&self, context: StageContext) -> StageResult<Arc<dyn Embedder>>;

    /// What makes vectors comparable: endpoint, model, dimensions. Projects that share a place must
    /// agree in it. `None` if the settings have problems.
    fn identity(&self) -> Option<Vec<String>>;

    /// True if the model is a folder of this machine.
    fn is_local(&self) -> bool {
        false
    }

    /// The same as [`Embedder::is_free`].
    fn is_free(&self) -> bool {
        false
    }

    /// Number of components of a vector; `None` if the settings do not tell.
    fn dimensions(&self) -> Option<usize>;

    /// Price of a million tokens; `None` if it is not known.
    fn price(&self) -> Option<f64>;
}
