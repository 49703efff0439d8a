//! How `kind = "webhook"` is built.

use std::sync::Arc;

use super::settings::WebhookSettings;
use super::webhook_notifier;
use crate::model::StageResult;
use crate::notify::{Notifier, NotifierConfig};
use crate::stage::StageContext;

impl NotifierConfig for WebhookSettings {
    fn build(&self, context: StageContext) -> StageResult<Arc<dyn Notifier>> {
        let notifier = webhook_notifier(context.stage, self, context.cancel, context.events)?;
        let notifier = notifier.with_timeouts(context.timeouts);
        Ok(Arc::new(notifier.with_allowances(context.allowances.as_ref())))
    }
}
