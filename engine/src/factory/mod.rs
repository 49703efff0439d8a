//! Builds stages and projects from a resolved configuration.
//!
//! A [`StageFactory`] belongs to the process. A stage whose settings did not change is the same object
//! in the next generation of the configuration: its client, its rate budget, its pool live on.

mod cache;
mod components;
mod forget;
mod generation;
mod options;
mod projects;
mod stages;
mod state;
mod trial;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use self::cache::StageCache;
use crate::blocking::Runtime;
use crate::chunk::component::ComponentHost;
use crate::config::{self, Config, Stage};
use crate::model::{Allowances, ErrorKind, EventSink, StageError, StageResult};
use crate::source::refuse_tracked;
use crate::state::{State, VectorCache};
use crate::sync::{Bounds, Engine, StageWaits};

pub(crate) use components::fetcher;
pub use components::{clear_leftovers, config_problems};
pub use options::{RunFlags, options, standing_prune};
pub use state::{open_for_copy, open_for_reading, open_for_run, open_for_service};
pub use trial::LoneChunker;

/// Builds stages, and caches them.
pub struct StageFactory {
    cancel: CancellationToken,
    events: EventSink,
    waits: StageWaits,
    bounds: Bounds,
    allowances: Option<Arc<dyn Allowances>>,
    host: OnceLock<ComponentHost>,
    vector_cache: OnceLock<Arc<dyn VectorCache>>,
    built: Mutex<StageCache>,
    /// By stage, the digest of the component that was loaded first. Projects, checks and
    /// `reposync.lock` read the file one after the other, and must speak of the same one.
    components: Mutex<BTreeMap<String, String>>,
}

impl StageFactory {
    /// A factory whose stages stop when `cancel` is cancelled and report to `events`.
    pub fn new(cancel: CancellationToken, events: EventSink) -> Self {
        let waits = StageWaits::default();
        Self {
            cancel,
            events: waits.watching(events),
            waits,
            bounds: Bounds::default(),
            allowances: None,
            host: OnceLock::new(),
            vector_cache: OnceLock::new(),
            built: Mutex::default(),
            components: Mutex::default(),
        }
    }

    /// The same factory; its stages share with other processes what services allow. `None`: this process counts for
    /// itself.
    #[must_use]
    pub fn with_allowances(self, allowances: Option<Arc<dyn Allowances>>) -> Self {
        Self { allowances, ..self }
    }

    /// A factory for the next generation of the file. Stages whose settings did not change are shared.
    /// What it builds does not reach this one, so a refused generation has no effect; stages that
    /// `config` does not name are dropped with this one.
    #[must_use]
    pub fn next(&self, config: &Config) -> Self {
        Self {
            cancel: self.cancel.clone(),
            events: self.events.clone(),
            waits: self.waits.clone(),
            bounds: self.bounds.clone(),
            allowances: self.allowances.clone(),
            host: self.host.clone(),
            vector_cache: self.vector_cache.clone(),
            built: Mutex::new(self.built().in_use(config)),
            components: Mutex::default(),
        }
    }

    /// The limits of blocking work.
    pub(crate) fn runtime(&self) -> &Runtime {
        &self.bounds.runtime
    }

    /// What all projects of a run share. `cancel` ends that run.
    pub fn engine(
        &self,
        config: &Config,
        state: Arc<dyn State>,
        events: EventSink,
        cancel: CancellationToken,
    ) -> Engine {
        let stores = config.stages.iter().filter_map(|stage| self.store(config, stage).ok()).collect();
        Engine {
            state,
            stores,
            units: None,
            bounds: self.bounds.clone().with_memory(config.engine.memory),
            history: config.engine.history.0,
            events,
            waits: self.waits.clone(),
            cancel,
        }
    }
}

/// Refuses a ledger, cache or index that the surrounding Git repository brought along.
pub fn refuse_tracked_state(config: &Config) -> StageResult<()> {
    let cache = config.engine.cache.join("cache.db");
    let mut databases: Vec<&Path> = config.engine.state.file().into_iter().collect();
    databases.push(&cache);
    databases.extend(config.stages.iter().filter_map(|stage| Some(stage.settings.store()?.database()?.1)));
    refuse_tracked(&databases)
}

/// The projects of these names; none: all enabled ones.
pub(crate) fn chosen<'a>(
    config: &'a Config,
    names: &'a [String],
) -> impl Iterator<Item = &'a config::Project> {
    config
        .projects
        .iter()
        .filter(move |project| if names.is_empty() { project.enabled } else { names.contains(&project.name) })
}

fn stage<'a>(config: &'a Config, name: &str) -> StageResult<&'a Stage> {
    config
        .stage(name)
        .ok_or_else(|| StageError::new(name, ErrorKind::Bug, "the configuration does not hold this stage"))
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::config::{Need, parse_str};

    fn config(chunk: usize, concurrency: usize) -> Config {
        let text = format!(
            "[engine]\nconcurrency = {concurrency}\n[stages.git]\nkind = \"git\"\n\
             [stages.prose]\nkind = \"sentence\"\nmax_chunk_size = {chunk}\nchunk_overlap = 0\n\
             [stages.model]\nkind = \"local\"\n[stages.index]\nkind = \"sqlite\"\n\
             [projects.p]\npipeline = [\"git\", \"prose\", \"model\", \"index\"]\nrepositories = [\"r\"]\n"
        );
        parse_str(Path::new("/none/reposync.toml"), &text, &Need::enabled()).expect("valid")
    }

    #[tokio::test]
    async fn what_is_edited_away_is_let_go_and_the_rest_lives_on() {
        let mut factory = StageFactory::new(CancellationToken::new(), EventSink::none());
        let first = factory.candidates(&config(100, 8), &[]).remove(0).project.expect("made");
        let mut last = Arc::clone(&first);
        for n in 0..50 {
            let config = config(100 + n, 8 + n / 10);
            factory = factory.next(&config);
            last = factory.candidates(&config, &[]).remove(0).project.expect("made");
            assert_eq!(
                Arc::ptr_eq(&first.source, &last.source),
                n < 10,
                "the same until its settings change"
            );
        }
        drop(first);
        factory = factory.next(&config(149, 12));
        let built = factory.built();
        let sizes = [
            built.sources.values().len(),
            built.chunkers.values().len(),
            built.queues.values().len(),
            built.stores.values().len(),
        ];
        assert_eq!(sizes, [1, 1, 1, 1]);
        assert!(built.sources.values().all(|source| Arc::ptr_eq(source, &last.source)));
    }
}
