//! The stages that were built, so that a stage whose settings did not change stays the same object.

use std::sync::Arc;

use crate::chunk::Chunker;
use crate::config::{Config, Role, Stage};
use crate::embed::EmbedQueue;
use crate::model::{ErrorKind, StageError, StageResult};
use crate::notify::Notifier;
use crate::source::Source;
use crate::store::VectorStore;

/// All stages that were built, by role.
#[derive(Default)]
pub(super) struct StageCache {
    pub(super) sources: Cache<dyn Source>,
    pub(super) chunkers: Cache<dyn Chunker>,
    pub(super) queues: Cache<EmbedQueue>,
    pub(super) stores: Cache<dyn VectorStore>,
    pub(super) notifiers: Cache<dyn Notifier>,
}

impl StageCache {
    /// The stages that `config` still names and somebody uses: stages whose settings are edited away do
    /// not pile up.
    pub(super) fn in_use(&self, config: &Config) -> Self {
        Self {
            sources: self.sources.in_use(config),
            chunkers: self.chunkers.in_use(config),
            queues: self.queues.in_use(config),
            stores: self.stores.in_use(config),
            notifiers: self.notifiers.in_use(config),
        }
    }
}

/// The stages of one role.
pub(super) struct Cache<T: ?Sized>(Vec<Built<T>>);

/// A stage with everything that it was built from.
struct Built<T: ?Sized> {
    stage: Stage,
    /// What went into it besides its settings.
    context: String,
    value: Arc<T>,
}

impl<T: ?Sized> Default for Cache<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: ?Sized> Clone for Built<T> {
    fn clone(&self) -> Self {
        Self { stage: self.stage.clone(), context: self.context.clone(), value: Arc::clone(&self.value) }
    }
}

impl<T: ?Sized> Cache<T> {
    /// The stage that was built from the same settings and context, or a new one.
    pub(super) fn get_or_build(
        &mut self,
        stage: &Stage,
        context: String,
        build: impl FnOnce() -> StageResult<Arc<T>>,
    ) -> StageResult<Arc<T>> {
        if let Some(found) = self.0.iter().find(|built| built.stage == *stage && built.context == context) {
            return Ok(Arc::clone(&found.value));
        }
        let value = build()?;
        // Its predecessor lives on in whoever still uses it.
        self.0.retain(|built| built.stage.name != stage.name || built.context != context);
        self.0.push(Built { stage: stage.clone(), context, value: Arc::clone(&value) });
        Ok(value)
    }

    fn in_use(&self, config: &Config) -> Self {
        let used = |built: &&Built<T>| {
            config.stage(&built.stage.name).is_some() && Arc::strong_count(&built.value) > 1
        };
        Self(self.0.iter().filter(used).cloned().collect())
    }

    #[cfg(test)]
    pub(super) fn values(&self) -> impl ExactSizeIterator<Item = &Arc<T>> {
        self.0.iter().map(|built| &built.value)
    }
}

pub(super) fn wrong_role(stage: &Stage, role: Role) -> StageError {
    let message = format!("is used as {}, which it is not", role.one());
    StageError::new(&stage.name, ErrorKind::Bug, message)
}
