//! Builds single stages, or takes them from the cache.

use std::sync::Arc;

use super::StageFactory;
use super::cache::{StageCache, wrong_role};
use super::state::open_cache;
use crate::chunk::{Chunker, ChunkerContext, TokenCounter};
use crate::config::{Config, Role, Stage};
use crate::embed::{EmbedQueue, Embedder};
use crate::model::StageResult;
use crate::net::{RetryPolicy, Timeouts};
use crate::notify::Notifier;
use crate::source::{Source, SourceContext, refuse_tracked};
use crate::stage::StageContext;
use crate::state::VectorCache;
use crate::store::VectorStore;
use parking_lot::MutexGuard;

impl StageFactory {
    pub(super) fn source(&self, config: &Config, stage: &Stage) -> StageResult<Arc<dyn Source>> {
        let settings = stage.settings.source().ok_or_else(|| wrong_role(stage, Role::Source))?;
        let (limits, max_file_bytes) = (config.engine.limits.clone(), config.engine.max_file_bytes.0);
        let data = config.engine.cache.clone();
        let context = format!("{} {limits:?} {max_file_bytes} {}", described(config), data.display());
        self.built().sources.get_or_build(stage, context, || {
            settings.build(SourceContext { stage: self.context(config, stage), limits, max_file_bytes, data })
        })
    }

    pub(super) fn chunker(
        &self,
        config: &Config,
        stage: &Stage,
        embedder: &Arc<dyn Embedder>,
    ) -> StageResult<Arc<dyn Chunker>> {
        let settings = stage.settings.chunker().ok_or_else(|| wrong_role(stage, Role::Chunker))?;
        // The host knows whether a component changed, and caches what did not.
        if settings.component().is_some() {
            return self.component(config, stage, Some(embedder));
        }
        let embedder = Arc::clone(embedder);
        let context = embedder.identity().to_string();
        let counter: TokenCounter = Arc::new(move |text: &str| embedder.measure_tokens(text));
        self.built().chunkers.get_or_build(stage, context, || {
            let host = &|| self.host(config);
            settings.build(&ChunkerContext { stage: &stage.name, counter, host, tokens: None, fetched: None })
        })
    }

    /// A chunker that is not cached, with a counter of tokens of the caller's own.
    pub(super) fn chunker_counting(
        &self,
        config: &Config,
        stage: &Stage,
        counter: TokenCounter,
        embedder: Option<&Arc<dyn Embedder>>,
    ) -> StageResult<Arc<dyn Chunker>> {
        let settings = stage.settings.chunker().ok_or_else(|| wrong_role(stage, Role::Chunker))?;
        if settings.component().is_some() {
            return self.component(config, stage, embedder);
        }
        let host = &|| self.host(config);
        settings.build(&ChunkerContext { stage: &stage.name, counter, host, tokens: None, fetched: None })
    }

    pub(super) fn queue(&self, config: &Config, stage: &Stage) -> StageResult<Arc<EmbedQueue>> {
        let settings = stage.settings.embedder().ok_or_else(|| wrong_role(stage, Role::Embedder))?;
        let cache = self.vector_cache(config);
        self.built().queues.get_or_build(stage, described(config), || {
            let embedder = settings.build(self.context(config, stage))?;
            let (cancel, events) = (self.cancel.clone(), self.events.clone());
            Ok(Arc::new(EmbedQueue::new(embedder, Some(cache), cancel, events)))
        })
    }

    pub(super) fn store(&self, config: &Config, stage: &Stage) -> StageResult<Arc<dyn VectorStore>> {
        let settings = stage.settings.store().ok_or_else(|| wrong_role(stage, Role::Store))?;
        self.built().stores.get_or_build(stage, described(config), || {
            if let Some((_, database)) = settings.database() {
                refuse_tracked(&[database])?;
            }
            settings.build(self.context(config, stage))
        })
    }

    pub(super) fn notifier(&self, config: &Config, stage: &Stage) -> StageResult<Arc<dyn Notifier>> {
        let settings = stage.settings.notifier().ok_or_else(|| wrong_role(stage, Role::Notifier))?;
        let build = || settings.build(self.context(config, stage));
        self.built().notifiers.get_or_build(stage, described(config), build)
    }

    pub(super) fn context(&self, config: &Config, stage: &Stage) -> StageContext {
        StageContext {
            stage: stage.name.clone(),
            calls: config.engine.concurrency,
            timeouts: timeouts(config),
            cancel: self.cancel.clone(),
            events: self.events.clone(),
            runtime: self.bounds.runtime.clone(),
            allowances: self.allowances.clone(),
        }
    }

    pub(super) fn vector_cache(&self, config: &Config) -> Arc<dyn VectorCache> {
        Arc::clone(self.vector_cache.get_or_init(|| open_cache(config)))
    }

    pub(super) fn built(&self) -> MutexGuard<'_, StageCache> {
        self.built.lock()
    }
}

/// What goes into every stage besides its settings.
fn described(config: &Config) -> String {
    format!("{} {:?}", config.engine.concurrency, timeouts(config))
}

/// Time-outs and retries of service calls, as configured in `[engine]`.
pub(super) fn timeouts(config: &Config) -> Timeouts {
    let tries = config.engine.retries + 1;
    Timeouts { retry: RetryPolicy { tries, ..RetryPolicy::default() }, answer: config.engine.timeout.0 }
}
