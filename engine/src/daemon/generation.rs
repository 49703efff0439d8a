//! One resolved state of the file, with everything built from it. A generation is built completely
//! before it replaces the previous one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::app::{App, BuiltProjects};
use crate::config::{self, Config, ConfigDiff, Need};
use crate::factory::StageFactory;
use crate::model::StageError;
use crate::state::State;
use crate::sync::Candidate;

use super::tokens::Tokens;

/// A generation of the configuration.
pub(crate) struct Generation {
    /// Counts the generations of this process, from 1.
    pub(crate) number: u64,
    pub(crate) config: Arc<Config>,
    pub(crate) factory: Arc<StageFactory>,
    /// The tokens, one of which API requests must carry.
    pub(super) tokens: Tokens,
    /// The enabled projects: their stages, or the error that building them gave.
    pub(crate) projects: Arc<BuiltProjects>,
}

/// A candidate for the next generation, and its differences from the current one.
pub(super) struct Next {
    pub(super) generation: Generation,
    pub(super) diff: ConfigDiff,
    /// Projects whose component file was replaced without a change of the configuration.
    pub(super) components: Vec<String>,
    /// The file says it in other words, as by another variable of the same value.
    pub(super) is_rewritten: bool,
}

/// Why a reload was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// In one line.
    pub(super) message: String,
    /// The problems of the file; empty if something else failed.
    pub(super) problems: Vec<config::Problem>,
}

impl Generation {
    /// The generation that the daemon starts with. A stage that cannot be built fails its project's
    /// runs, not the daemon.
    pub(super) fn first(config: Config, tokens: Tokens, factory: StageFactory) -> Self {
        let projects = projects(&factory, &config);
        for (name, project) in &projects {
            if let Err(error) = project {
                tracing::error!(project = %name, error = %error.one_line(), "cannot build the project's stages");
            }
        }
        Self {
            number: 1,
            config: Arc::new(config),
            factory: Arc::new(factory),
            tokens,
            projects: Arc::new(projects),
        }
    }

    /// Builds the successor of this generation from the file on disk. Blocks, since components are
    /// compiled.
    pub(super) fn next(&self, need: &Need) -> Result<Next, Refused> {
        let mut config = config::load(&self.config.path, need).map_err(|problems| Refused {
            message: problems.one_line(),
            problems: problems.list().to_vec(),
        })?;
        let diff = config::diff(&self.config, &config);
        // These are fixed until the daemon restarts.
        config.engine.state.clone_from(&self.config.engine.state);
        config.engine.cache.clone_from(&self.config.engine.cache);
        config.engine.compiled_cache.clone_from(&self.config.engine.compiled_cache);
        config.engine.cache_size = self.config.engine.cache_size;
        config.engine.log_dir.clone_from(&self.config.engine.log_dir);
        config.api.listen = self.config.api.listen;
        config.api.probe_listen = self.config.api.probe_listen;
        config.api.tls.clone_from(&self.config.api.tls);
        let own = self.tokens.own().next(&config);
        let own = own.map_err(|error| Refused { message: with_hint(&error), problems: Vec::new() })?;
        let tokens = Tokens::of(own, &config);
        let factory = self.factory.next(&config);
        let projects = projects(&factory, &config);
        let mut components = Vec::new();
        for (name, project) in &projects {
            match (project, self.projects.get(name)) {
                (Err(error), _) => {
                    return Err(Refused { message: cannot_make(name, error), problems: Vec::new() });
                }
                (Ok(new), Some(Ok(old)))
                    if new.basis != old.basis
                        && diff.project(name).is_none_or(|change| !change.replans()) =>
                {
                    components.push(name.clone());
                }
                // The stages failed to build before and the file has not changed, so a missing
                // component has appeared.
                (Ok(_), Some(Err(_))) if diff.project(name).is_none() => components.push(name.clone()),
                (Ok(_), _) => {}
            }
        }
        let is_rewritten = config.text.as_str() != self.config.text.as_str();
        let generation = Self {
            number: self.number + 1,
            config: Arc::new(config),
            factory: Arc::new(factory),
            tokens,
            projects: Arc::new(projects),
        };
        Ok(Next { generation, diff, components, is_rewritten })
    }

    /// The use cases on this generation.
    pub(super) fn app(&self, state: &Arc<dyn State>, cancel: CancellationToken) -> App {
        let (config, factory) = (Arc::clone(&self.config), Arc::clone(&self.factory));
        App::of_built(config, factory, Arc::clone(&self.projects), Arc::clone(state), cancel)
    }

    /// The enabled project of this name, in the form that runs take.
    pub(super) fn candidate(&self, name: &str) -> Option<Candidate> {
        let project = self.projects.get(name)?.clone();
        Some(Candidate { name: name.to_owned(), project })
    }

    /// The files to watch: the configuration and the components that it names.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let stages = self.config.stages.iter();
        let components =
            stages.filter_map(|stage| stage.settings.chunker()?.component()?.file().map(Path::to_owned));
        std::iter::once(self.config.path.clone()).chain(components).collect()
    }
}

fn projects(factory: &StageFactory, config: &Config) -> BuiltProjects {
    let made = factory.candidates(config, &[]);
    made.into_iter().map(|candidate| (candidate.name, candidate.project)).collect()
}

fn cannot_make(project: &str, error: &StageError) -> String {
    format!("project `{project}`, stage `{}`: {}", error.stage, with_hint(error))
}

fn with_hint(error: &StageError) -> String {
    let hint = error.hint.as_deref().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
    format!("{}{hint}", error.one_line())
}
