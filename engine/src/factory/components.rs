//! Chunkers that are components: one host for the process, and the same file for all who ask.

use std::path::Path;
use std::sync::{Arc, PoisonError};

use super::StageFactory;
use super::cache::wrong_role;
use crate::chunk::component::{self, ComponentHost, Folders, Lock, LockedComponent, RefusedConfig};
use crate::chunk::{Chunker, ChunkerContext};
use crate::config::{self, Config, Role, Stage};
use crate::model::{StageError, StageResult};

impl StageFactory {
    /// The components that enabled projects use, as `reposync.lock` records them. Blocks, like
    /// [`StageFactory::candidates`].
    pub fn components(&self, config: &Config) -> StageResult<Lock> {
        let folder = config.path.parent().unwrap_or(Path::new("/"));
        let mut locked = Vec::new();
        for (stage, path) in used_components(config) {
            let chunker = self.component(config, stage)?;
            locked.extend(chunker.component().map(|info| LockedComponent::of(info, path, folder)));
        }
        Ok(Lock::of(locked))
    }

    /// The problems of components that enabled projects use, and of their configurations. Blocks while new
    /// components are compiled.
    pub fn component_faults(&self, config: &Config) -> Vec<StageError> {
        used_components(config).filter_map(|(stage, _)| self.component(config, stage).err()).collect()
    }

    pub(super) fn component(&self, config: &Config, stage: &Stage) -> StageResult<Arc<dyn Chunker>> {
        let settings = stage.settings.chunker().ok_or_else(|| wrong_role(stage, Role::Chunker))?;
        let counter = Arc::new(|_: &str| 0); // components count nothing
        let context = ChunkerContext { stage: &stage.name, counter, host: &|| self.host(config) };
        let chunker = settings.build(&context).map_err(|error| with_lines(config, &stage.name, error))?;
        let (Some(info), Some(file)) = (chunker.component(), settings.component()) else {
            return Ok(chunker);
        };
        let mut loaded = self.components.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.entry(stage.name.clone()).or_insert_with(|| info.sha256.clone()) == &info.sha256 {
            return Ok(chunker);
        }
        let file = file.display();
        let message = format!("component `{file}` was replaced while it was being loaded");
        Err(StageError::misconfigured(&stage.name, message)
            .hint("run it again, once the new one is in place"))
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

/// Removes what earlier versions left in the project's folder and nothing uses any more. For the
/// start of a writing run; what cannot be removed stays.
pub fn clear_leftovers(config: &Config) {
    component::remove_former_cache(&config.engine.cache);
}

/// The stages of components that enabled projects use, with the files of the components.
fn used_components(config: &Config) -> impl Iterator<Item = (&Stage, &Path)> {
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
