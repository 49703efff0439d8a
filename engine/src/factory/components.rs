//! Chunkers that are components: one host for the process, and the same file for all who ask.

use std::path::Path;
use std::sync::Arc;

use super::StageFactory;
use super::cache::wrong_role;
use super::stages::timeouts;
use crate::chunk::component::{self, ComponentHost, Folders, Location, Lock, LockedComponent, RefusedConfig};
use crate::chunk::{Chunker, ChunkerContext, Tokens};
use crate::config::{self, Config, Role, Stage};
use crate::embed::Embedder;
use crate::fetch::{Fetched, Fetcher};
use crate::model::{StageError, StageResult};

impl StageFactory {
    /// The components that enabled projects use, as `reposync.lock` records them. Blocks, like
    /// [`StageFactory::candidates`].
    pub fn components(&self, config: &Config) -> StageResult<Lock> {
        let folder = config.path.parent().unwrap_or(Path::new("/"));
        let mut locked = Vec::new();
        for (stage, location) in used_components(config) {
            let chunker = self.component(config, stage, None)?;
            locked.extend(chunker.component().map(|info| LockedComponent::of(info, location, folder)));
        }
        Ok(Lock::of(locked))
    }

    /// The problems of components that enabled projects use, and of their configurations. Blocks while new
    /// components are compiled.
    pub fn component_faults(&self, config: &Config) -> Vec<StageError> {
        used_components(config).filter_map(|(stage, _)| self.component(config, stage, None).err()).collect()
    }

    /// A component's chunker; `embedder` is that of its pipeline, if it is part of one.
    pub(super) fn component(
        &self,
        config: &Config,
        stage: &Stage,
        embedder: Option<&Arc<dyn Embedder>>,
    ) -> StageResult<Arc<dyn Chunker>> {
        let settings = stage.settings.chunker().ok_or_else(|| wrong_role(stage, Role::Chunker))?;
        let tokens = embedder.map(tokens_of);
        let counter = Arc::clone(&tokens.clone().unwrap_or_default().counter);
        let fetched = self.fetched(config, stage)?;
        let context = ChunkerContext {
            stage: &stage.name,
            counter,
            host: &|| self.host(config),
            tokens,
            fetched: fetched.as_ref().map(|fetched| fetched.file.as_path()),
        };
        let chunker = settings.build(&context).map_err(|error| with_lines(config, &stage.name, error))?;
        let (Some(info), Some(location)) = (chunker.component(), settings.component()) else {
            return Ok(chunker);
        };
        let is_fetched = fetched.is_none_or(|fetched| fetched.sha256 == info.sha256);
        let mut loaded = self.components.lock();
        if is_fetched
            && loaded.entry(stage.name.clone()).or_insert_with(|| info.sha256.clone()) == &info.sha256
        {
            return Ok(chunker);
        }
        let message = format!("component `{location}` was replaced while it was being loaded");
        Err(StageError::misconfigured(&stage.name, message)
            .hint("run it again, once the new one is in place"))
    }

    /// The component of a stage that names an address; `None` if it names a file. The digest is that of the
    /// stage, else the one that was loaded first, else that of `reposync.lock`, else that of what the
    /// registry has under the tag.
    fn fetched(&self, config: &Config, stage: &Stage) -> StageResult<Option<Fetched>> {
        let settings = stage.settings.chunker().ok_or_else(|| wrong_role(stage, Role::Chunker))?;
        let Some(location @ Location::Remote(address)) = settings.component() else { return Ok(None) };
        let loaded = self.components.lock().get(&stage.name).cloned();
        let pinned = settings.sha256().map(str::to_owned).or(loaded).or_else(|| locked(config, location));
        let is_web = !address.starts_with("oci://");
        if let (Some(pinned), false) = (&pinned, is_web && settings.sha256().is_none()) {
            return fetcher(config).get(&stage.name, address, Some(pinned)).map(Some);
        }
        let fetched = fetcher(config).get(&stage.name, address, None)?;
        if is_web {
            let message = format!(
                "component `{address}` needs a `sha256`; that of the file there is now {}",
                fetched.sha256
            );
            return Err(StageError::misconfigured(&stage.name, message).hint(format!(
                "if you trust it, add sha256 = \"{}\" to [stages.{}]",
                fetched.sha256, stage.name
            )));
        }
        Ok(Some(fetched))
    }

    /// The host of components; one for the process.
    pub fn host(&self, config: &Config) -> StageResult<&ComponentHost> {
        if let Some(host) = self.host.get() {
            return Ok(host);
        }
        let engine = &config.engine;
        let host = ComponentHost::new(&Folders::of_user(engine.compiled_cache.clone(), &engine.cache))?;
        Ok(self.host.get_or_init(|| host))
    }
}

fn tokens_of(embedder: &Arc<dyn Embedder>) -> Tokens {
    let most = u32::try_from(embedder.limits().tokens_per_input).ok();
    let (identity, embedder) = (embedder.identity().to_string(), Arc::clone(embedder));
    Tokens { counter: Arc::new(move |text: &str| embedder.measure_tokens(text)), most, embedder: identity }
}

/// Fetches components for this file.
pub(crate) fn fetcher(config: &Config) -> Fetcher {
    let engine = &config.engine;
    let folder = engine.compiled_cache.as_deref().unwrap_or(&engine.cache).join("downloads");
    Fetcher::new(folder, config.registries.clone(), timeouts(config))
}

/// The digest of `reposync.lock` for a component. A lock that cannot be read locks nothing here;
/// `apply` reports it.
fn locked(config: &Config, location: &Location) -> Option<String> {
    let lock = Lock::read(&config.path.with_file_name("reposync.lock")).ok()??;
    lock.digest_of(location, config.path.parent()?).map(str::to_owned)
}

/// Removes what earlier versions left in the project's folder and nothing uses any more. For the
/// start of a writing run; what cannot be removed stays.
pub fn clear_leftovers(config: &Config) {
    component::remove_former_cache(&config.engine.cache);
}

/// The stages of components that enabled projects use, and where the components come from.
pub(super) fn used_components(config: &Config) -> impl Iterator<Item = (&Stage, &Location)> {
    let used = |stage: &Stage| {
        config.projects.iter().any(|project| project.enabled && project.chunkers.contains(&stage.name))
    };
    config
        .stages
        .iter()
        .filter(move |stage| used(stage))
        .filter_map(|stage| Some((stage, stage.settings.chunker()?.component()?)))
}

/// Adds to a component's objections to its `config` the lines at which the objects of them stand.
fn with_lines(config: &Config, stage: &str, mut error: StageError) -> StageError {
    let refused = error.source.as_ref().and_then(|source| source.downcast_ref::<RefusedConfig>());
    let (Some(refused), Ok(text)) = (refused, std::fs::read_to_string(&config.path)) else { return error };
    let lines: Vec<String> = refused
        .problems
        .iter()
        .filter_map(|problem| {
            let mut path = vec!["stages".to_owned(), stage.to_owned()];
            path.extend(problem.keys());
            let line = config::line_of(&text, &path)?;
            Some(format!("{}:{line}: {problem}", config.path.display()))
        })
        .collect();
    let hint = error.hint.take().into_iter().chain(lines).collect::<Vec<_>>().join("; ");
    if hint.is_empty() { error } else { error.hint(hint) }
}

/// What is wrong with a stage's `config`, where that is why it cannot be built: with file, line and
/// snippet.
pub fn config_problems(config: &Config, error: &StageError) -> Option<config::Problems> {
    let refused = error.source.as_ref()?.downcast_ref::<RefusedConfig>()?;
    let text = std::fs::read_to_string(&config.path).ok()?;
    let found: Vec<_> = refused
        .problems
        .iter()
        .map(|problem| {
            let stage = ["stages".to_owned(), error.stage.clone()];
            (stage.into_iter().chain(problem.keys()).collect(), problem.message.clone())
        })
        .collect();
    Some(config::problems_at(&config.path, &text, &found))
}
