//! The composition root: from a resolved configuration to projects with their stages made.
//!
//! A [`Workshop`] belongs to the process. A stage whose settings did not change is the same object
//! in the next generation of the configuration: its client, its rate budget, its pool live on.

mod basis;
mod options;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio_util::sync::CancellationToken;

use self::basis::{Basis, ChunkerBasis};
use crate::chunk::component::{self, ComponentHost, Folders, Lock, LockedComponent, RefusedConfig};
use crate::chunk::secrets::Scanner;
use crate::chunk::{
    Chunker, CodeChunker, ComponentChunker, MarkdownChunker, SentenceChunker, TokenCounter, WasmSettings,
};
use crate::config::{self, Config, Stage, StageKind};
use crate::embed::{EmbedQueue, Embedder, LocalEmbedder, azure_embedder, openai_embedder};
use crate::model::{BranchRef, ErrorKind, EventSink, PathMatcher, SecretsMode, StageError, StageResult};
use crate::net::{RetryPolicy, Timeouts};
use crate::notify::{Notifier, slack_notifier, webhook_notifier};
use crate::plan::Selector;
use crate::source::{GitSource, GithubSource, Selection, Source, refuse_tracked};
use crate::state::{ProjectRow, SqliteState, SqliteVectorCache};
use crate::store::{PineconeStore, SqliteStore, VectorStore};
use crate::sync::{Bounds, Candidate, Engine, Project, ProjectFiles, ProjectSearch, ProjectStore};

pub use options::{RunFlags, options, standing_prune};

/// Makes stages, and keeps them.
pub struct Workshop {
    cancel: CancellationToken,
    events: EventSink,
    bounds: Bounds,
    host: OnceLock<ComponentHost>,
    cache: OnceLock<Arc<SqliteVectorCache>>,
    made: Mutex<Made>,
    /// By stage, the digest of the component that was loaded first. Projects, checks and
    /// `reposync.lock` read the file one after the other, and must speak of the same one.
    components: Mutex<BTreeMap<String, String>>,
}

/// What was made, with the settings it was made of.
#[derive(Default)]
struct Made {
    sources: Kept<Arc<dyn Source>>,
    chunkers: Kept<Arc<dyn Chunker>>,
    queues: Kept<Arc<EmbedQueue>>,
    stores: Kept<Arc<dyn VectorStore>>,
    notifiers: Kept<Arc<dyn Notifier>>,
}

/// Stages by what they were made of: the stage itself, and what else went into it.
type Kept<T> = Vec<(Stage, String, T)>;

impl Workshop {
    /// A workshop whose stages stop when `cancel` is cancelled and tell what they do to `events`.
    pub fn new(cancel: CancellationToken, events: EventSink) -> Self {
        Self {
            cancel,
            events,
            bounds: Bounds::default(),
            host: OnceLock::new(),
            cache: OnceLock::new(),
            made: Mutex::default(),
            components: Mutex::default(),
        }
    }

    /// A workshop for the next generation of the file. Stages whose settings did not change are shared. What it
    /// builds does not reach this one, so a refused generation has no effect; stages that `config` does not
    /// name are dropped with this one.
    #[must_use]
    pub fn next(&self, config: &Config) -> Self {
        let made = {
            let made = self.made();
            Made {
                sources: in_use(&made.sources, config),
                chunkers: in_use(&made.chunkers, config),
                queues: in_use(&made.queues, config),
                stores: in_use(&made.stores, config),
                notifiers: in_use(&made.notifiers, config),
            }
        };
        Self {
            cancel: self.cancel.clone(),
            events: self.events.clone(),
            bounds: self.bounds.clone(),
            host: self.host.clone(),
            cache: self.cache.clone(),
            made: Mutex::new(made),
            components: Mutex::default(),
        }
    }

    /// The projects of these names (none: all enabled ones), each with its stages or with what is
    /// wrong with them. Blocks, and must not be called on the executor: components are compiled,
    /// started and configured.
    pub fn candidates(&self, config: &Config, names: &[String]) -> Vec<Candidate> {
        chosen(config, names)
            .map(|project| Candidate {
                name: project.name.clone(),
                project: self.project(config, project).map(Arc::new),
            })
            .collect()
    }

    /// The projects of these names (none: all enabled ones), each with its store or with what is wrong
    /// with it. No other stage is made.
    pub fn stores(&self, config: &Config, names: &[String]) -> Vec<(String, StageResult<ProjectStore>)> {
        let chosen = chosen(config, names);
        chosen.map(|project| (project.name.clone(), self.project_store(config, project))).collect()
    }

    /// The projects of these names (none: all enabled ones), as a search wants them. No source and no
    /// chunkers are made.
    pub fn searches(&self, config: &Config, names: &[String]) -> StageResult<Vec<ProjectSearch>> {
        let search = |project: &config::Project| {
            let place = self.project_store(config, project)?;
            let queue = self.queue(config, stage(config, &project.embedder)?)?;
            Ok(ProjectSearch { place, embedder: Arc::clone(queue.embedder()) })
        };
        chosen(config, names).map(search).collect()
    }

    /// A project as far as it decides what becomes of a file by its name. Blocks while components are
    /// compiled.
    pub fn files(&self, config: &Config, project: &config::Project) -> StageResult<ProjectFiles> {
        let queue = self.queue(config, stage(config, &project.embedder)?)?;
        let chunker = |name: &String| self.chunker(config, stage(config, name)?, queue.embedder());
        Ok(ProjectFiles {
            exclude_patterns: project.exclude_patterns.clone(),
            selector: selector(config, project)?,
            chunkers: project.chunkers.iter().map(chunker).collect::<StageResult<_>>()?,
        })
    }

    fn project_store(&self, config: &Config, project: &config::Project) -> StageResult<ProjectStore> {
        Ok(ProjectStore {
            project: project.name.clone(),
            namespace: project.namespace.clone(),
            store: self.store(config, stage(config, &project.store)?)?,
        })
    }

    /// What all projects of a run share. `cancel` ends that run.
    pub fn engine(
        &self,
        config: &Config,
        ledger: Arc<SqliteState>,
        events: EventSink,
        cancel: CancellationToken,
    ) -> Engine {
        let stores = config.stages.iter().filter_map(|stage| self.store(config, stage).ok()).collect();
        Engine {
            ledger,
            stores,
            bounds: self.bounds.clone(),
            history: config.engine.history.0,
            events,
            cancel,
        }
    }

    /// One project with its stages.
    pub fn project(&self, config: &Config, project: &config::Project) -> StageResult<Project> {
        let stage = |name: &str| stage(config, name);
        let queue = self.queue(config, stage(&project.embedder)?)?;
        let mut chunkers = Vec::new();
        let mut chunker_bases = Vec::new();
        for name in &project.chunkers {
            let stage = stage(name)?;
            let chunker = self.chunker(config, stage, queue.embedder())?;
            chunker_bases.push(ChunkerBasis {
                identity: chunker.identity().to_owned(),
                patterns: patterns(stage).cloned(),
            });
            chunkers.push(chunker);
        }
        let store_stage = stage(&project.store)?;
        let scanner = Scanner::with(&config.secrets)
            .map_err(|error| StageError::misconfigured(&project.name, format!("`[secrets]`: {error}")))?;
        let basis = Basis {
            version: basis::VERSION,
            branch: match &project.branch {
                BranchRef::Default => None,
                BranchRef::Named(branch) => Some(branch),
            },
            chunkers: chunker_bases,
            embedder: queue.embedder().identity().as_str(),
            place: basis::place(store_stage, &project.namespace)?,
            allowed_extensions: project.allowed_extensions.as_deref(),
            exclude_patterns: &project.exclude_patterns,
            max_file_bytes: config.engine.max_file_bytes.0,
            secrets: project.secrets.as_str(),
            secret_rules: (project.secrets != SecretsMode::Off).then(|| scanner.identity()),
        };
        let basis = basis.fingerprint();
        Ok(Project {
            row: row(project),
            selection: project.selection.clone(),
            branch: project.branch.clone(),
            selector: selector(config, project)?,
            secrets: project.secrets,
            scanner,
            max_cost: project.max_cost,
            basis,
            source: self.source(config, stage(&project.source)?)?,
            chunkers,
            queue,
            store: self.store(config, store_stage)?,
            notifiers: project
                .notifiers
                .iter()
                .map(|name| self.notifier(config, stage(name)?))
                .collect::<StageResult<_>>()?,
        })
    }

    /// The components that enabled projects use, as `reposync.lock` records them. Blocks, like
    /// [`Workshop::candidates`].
    pub fn components(&self, config: &Config) -> StageResult<Lock> {
        let folder = config.path.parent().unwrap_or(Path::new("/"));
        let locked = used_components(config).map(|(stage, settings)| {
            let chunker = self.component(config, stage, settings)?;
            Ok(LockedComponent::of(&chunker, folder))
        });
        Ok(Lock::of(locked.collect::<StageResult<Vec<_>>>()?))
    }

    /// The problems of components that enabled projects use, and of their configurations. Blocks while new
    /// components are compiled.
    pub fn component_faults(&self, config: &Config) -> Vec<StageError> {
        used_components(config)
            .filter_map(|(stage, settings)| self.component(config, stage, settings).err())
            .collect()
    }

    fn component(
        &self,
        config: &Config,
        stage: &str,
        settings: &WasmSettings,
    ) -> StageResult<ComponentChunker> {
        let chunker =
            self.host(config)?.load(stage, settings).map_err(|error| with_lines(config, stage, error))?;
        let digest = &chunker.info().sha256;
        let mut loaded = self.components.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.entry(stage.to_owned()).or_insert_with(|| digest.clone()) == digest {
            return Ok(chunker);
        }
        let file = settings.component.display();
        let message = format!("component `{file}` was replaced while it was being loaded");
        Err(StageError::misconfigured(stage, message).hint("run it again, once the new one is in place"))
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

    fn source(&self, config: &Config, stage: &Stage) -> StageResult<Arc<dyn Source>> {
        let (calls, timeouts) = (config.engine.concurrency, timeouts(config));
        let (limits, max_file_bytes) = (config.engine.limits.clone(), config.engine.max_file_bytes.0);
        let made_with = format!("{calls} {timeouts:?} {limits:?} {max_file_bytes}");
        keep(&mut self.made().sources, stage, made_with, || match &stage.kind {
            StageKind::Git(settings) => {
                let source = GitSource::new(&stage.name).with_limits(limits, max_file_bytes);
                let source = source.with_alternates(settings.alternates.clone());
                Ok(Arc::new(source.with_cancel(self.cancel.clone())))
            }
            StageKind::Github(settings) => {
                let (cancel, events) = (self.cancel.clone(), self.events.clone());
                let source = GithubSource::new(&stage.name, settings, calls, cancel, events)?;
                Ok(Arc::new(source.with_timeouts(timeouts).with_limits(limits)))
            }
            _ => Err(wrong_role(stage, "source")),
        })
    }

    fn chunker(
        &self,
        config: &Config,
        stage: &Stage,
        embedder: &Arc<dyn Embedder>,
    ) -> StageResult<Arc<dyn Chunker>> {
        // The host knows whether a component changed; it keeps what did not.
        if let StageKind::Wasm(settings) = &stage.kind {
            return Ok(Arc::new(self.component(config, &stage.name, settings)?));
        }
        let embedder = Arc::clone(embedder);
        let made_with = embedder.identity().to_string();
        let counter: TokenCounter = Arc::new(move |text: &str| embedder.measure_tokens(text));
        keep(&mut self.made().chunkers, stage, made_with, || match &stage.kind {
            StageKind::Sentence(settings) => {
                Ok(Arc::new(SentenceChunker::new(&stage.name, settings, Some(counter))?))
            }
            StageKind::Markdown(settings) => {
                Ok(Arc::new(MarkdownChunker::new(&stage.name, settings, Some(counter))?))
            }
            StageKind::Code(settings) => {
                Ok(Arc::new(CodeChunker::new(&stage.name, settings, Some(counter))?))
            }
            _ => Err(wrong_role(stage, "chunker")),
        })
    }

    fn queue(&self, config: &Config, stage: &Stage) -> StageResult<Arc<EmbedQueue>> {
        let cache = self.cache(config);
        let (calls, timeouts) = (config.engine.concurrency, timeouts(config));
        let made_with = format!("{calls} {timeouts:?}");
        let (cancel, events) = (self.cancel.clone(), self.events.clone());
        keep(&mut self.made().queues, stage, made_with, || {
            let embedder: Arc<dyn Embedder> = match &stage.kind {
                StageKind::Local(settings) => Arc::new(match &settings.path {
                    Some(path) => LocalEmbedder::from_folder(&stage.name, path)?,
                    None => LocalEmbedder::embedded(&stage.name),
                }),
                StageKind::AzureOpenAi(settings) => {
                    let made = azure_embedder(&stage.name, settings, calls, cancel.clone(), events.clone())?;
                    Arc::new(made.with_timeouts(timeouts))
                }
                StageKind::OpenAi(settings) => {
                    let made = openai_embedder(&stage.name, settings, calls, cancel.clone(), events.clone())?;
                    Arc::new(made.with_timeouts(timeouts))
                }
                _ => return Err(wrong_role(stage, "embedder")),
            };
            Ok(Arc::new(EmbedQueue::new(embedder, Some(cache), cancel, events)))
        })
    }

    fn store(&self, config: &Config, stage: &Stage) -> StageResult<Arc<dyn VectorStore>> {
        let (calls, timeouts) = (config.engine.concurrency, timeouts(config));
        let made_with = format!("{calls} {timeouts:?}");
        keep(&mut self.made().stores, stage, made_with, || match &stage.kind {
            StageKind::Sqlite(settings) => {
                refuse_tracked(&[&settings.path])?;
                let store = SqliteStore::open(&stage.name, &settings.path);
                Ok(Arc::new(store.weigh(settings.vector_weight, settings.text_weight)))
            }
            StageKind::Pinecone(settings) => {
                let (cancel, events) = (self.cancel.clone(), self.events.clone());
                let store = PineconeStore::new(&stage.name, settings, calls, cancel, events)?;
                Ok(Arc::new(store.with_timeouts(timeouts)))
            }
            _ => Err(wrong_role(stage, "store")),
        })
    }

    fn notifier(&self, config: &Config, stage: &Stage) -> StageResult<Arc<dyn Notifier>> {
        let timeouts = timeouts(config);
        let (cancel, events) = (self.cancel.clone(), self.events.clone());
        keep(&mut self.made().notifiers, stage, format!("{timeouts:?}"), || {
            let made = match &stage.kind {
                StageKind::Slack(settings) => slack_notifier(&stage.name, settings, cancel, events)?,
                StageKind::Webhook(settings) => webhook_notifier(&stage.name, settings, cancel, events)?,
                _ => return Err(wrong_role(stage, "notifier")),
            };
            Ok(Arc::new(made.with_timeouts(timeouts)))
        })
    }

    fn cache(&self, config: &Config) -> Arc<SqliteVectorCache> {
        let open = || Arc::new(SqliteVectorCache::open(&config.engine.cache, config.engine.cache_size));
        Arc::clone(self.cache.get_or_init(open))
    }

    fn made(&self) -> std::sync::MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes what earlier versions left in the project's folder and nothing uses any more. For the
/// start of a writing run; what cannot be removed stays.
pub fn clear_leftovers(config: &Config) {
    component::remove_former_cache(&config.engine.cache);
}

/// Refuses a ledger, cache or index that the surrounding Git repository brought along.
pub fn refuse_tracked_state(config: &Config) -> StageResult<()> {
    let cache = config.engine.cache.join("cache.db");
    let mut databases = vec![config.engine.state.as_path(), cache.as_path()];
    databases.extend(config.stages.iter().filter_map(|stage| match &stage.kind {
        StageKind::Sqlite(settings) => Some(settings.path.as_path()),
        _ => None,
    }));
    refuse_tracked(&databases)
}

/// Time-outs and retries of service calls, as configured in `[engine]`.
fn timeouts(config: &Config) -> Timeouts {
    let tries = config.engine.retries + 1;
    Timeouts { retry: RetryPolicy { tries, ..RetryPolicy::default() }, answer: config.engine.timeout.0 }
}

/// What `config` still names and somebody works with: what was made of settings that are edited
/// away does not pile up, however often they are.
fn in_use<T: ?Sized>(kept: &Kept<Arc<T>>, config: &Config) -> Kept<Arc<T>> {
    let used = kept
        .iter()
        .filter(|(stage, _, value)| config.stage(&stage.name).is_some() && Arc::strong_count(value) > 1);
    used.cloned().collect()
}

/// The stage that was made of the same, or a new one.
fn keep<T: Clone>(
    kept: &mut Kept<T>,
    stage: &Stage,
    made_with: String,
    make: impl FnOnce() -> StageResult<T>,
) -> StageResult<T> {
    if let Some((_, _, value)) = kept.iter().find(|(of, with, _)| of == stage && *with == made_with) {
        return Ok(value.clone());
    }
    let value = make()?;
    // Its predecessor lives on in whoever still uses it.
    kept.retain(|(of, with, _)| of.name != stage.name || *with != made_with);
    kept.push((stage.clone(), made_with, value.clone()));
    Ok(value)
}

fn selector(config: &Config, project: &config::Project) -> StageResult<Selector> {
    let exclude = PathMatcher::new(&project.exclude_patterns)
        .map_err(|error| StageError::misconfigured(&project.name, format!("`exclude_patterns`: {error}")))?;
    Ok(Selector {
        allowed_extensions: project.allowed_extensions.clone(),
        exclude,
        max_file_bytes: config.engine.max_file_bytes.0,
    })
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

/// The stages of components that enabled projects use.
fn used_components(config: &Config) -> impl Iterator<Item = (&str, &WasmSettings)> {
    let used = |stage: &Stage| {
        config.projects.iter().any(|project| project.enabled && project.chunkers.contains(&stage.name))
    };
    config.stages.iter().filter(move |stage| used(stage)).filter_map(|stage| match &stage.kind {
        StageKind::Wasm(settings) => Some((stage.name.as_str(), settings)),
        _ => None,
    })
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

/// What is wrong with a stage's `config`, where that is why it cannot be made: with file, line and
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

fn wrong_role(stage: &Stage, role: &str) -> StageError {
    StageError::new(&stage.name, ErrorKind::Bug, format!("is used as a {role}, which it is not"))
}

/// Which files a chunker stage takes is no part of its identity, but it decides who takes a file.
fn patterns(stage: &Stage) -> Option<&Vec<String>> {
    match &stage.kind {
        StageKind::Sentence(settings) => settings.patterns.as_ref(),
        StageKind::Markdown(settings) => settings.patterns.as_ref(),
        StageKind::Code(settings) => settings.patterns.as_ref(),
        StageKind::Wasm(settings) => settings.patterns.as_ref(),
        _ => None,
    }
}

fn row(project: &config::Project) -> ProjectRow {
    let (organization, filter_keyword) = match &project.selection {
        Selection::Owner { owner, keyword } => (Some(owner.clone()), keyword.clone()),
        Selection::Named(_) => (None, None),
    };
    ProjectRow {
        name: project.name.clone(),
        organization,
        filter_keyword,
        namespace: project.namespace.clone(),
        enabled: project.enabled,
        allowed_extensions: project.allowed_extensions.clone(),
        exclude_patterns: project.exclude_patterns.clone(),
    }
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
        let mut workshop = Workshop::new(CancellationToken::new(), EventSink::none());
        let first = workshop.candidates(&config(100, 8), &[]).remove(0).project.expect("made");
        let mut last = Arc::clone(&first);
        for n in 0..50 {
            let config = config(100 + n, 8 + n / 10);
            workshop = workshop.next(&config);
            last = workshop.candidates(&config, &[]).remove(0).project.expect("made");
            assert_eq!(
                Arc::ptr_eq(&first.source, &last.source),
                n < 10,
                "the same until its settings change"
            );
        }
        drop(first);
        workshop = workshop.next(&config(149, 12));
        let made = workshop.made();
        let sizes = [made.sources.len(), made.chunkers.len(), made.queues.len(), made.stores.len()];
        assert_eq!(sizes, [1, 1, 1, 1]);
        assert!(Arc::ptr_eq(&made.sources[0].2, &last.source));
    }
}
