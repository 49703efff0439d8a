//! What a kind of notifier declares in addition to its settings.

use std::sync::Arc;

use super::Notifier;
use crate::model::StageResult;
use crate::stage::{AnyStageConfig, StageContext};

/// The settings of a notifier.
pub trait NotifierConfig: AnyStageConfig {
    /// Builds the notifier. Sends nothing yet.
    fn build(&self, context: StageContext) -> StageResult<Arc<dyn Notifier>>;
}
