//! The configurations of the daemons, built by a worker.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::options::{WorkerOptions, queue};
use crate::config::{self, Config, GivenComponent, Need, Role};
use crate::factory::StageFactory;
use crate::model::{ErrorKind, EventSink, StageError, StageResult, WorkerSettings};
use crate::private;
use crate::state::{ClaimedUnit, Generation, State, Worker};
use crate::state_folder;
use crate::sync::{Engine, Project, Workshop};

/// Configurations that are kept built: units in flight keep theirs.
const KEPT: usize = 3;
/// The stages that a unit uses: the run notifies.
const ROLES: &[Role] = &[Role::Source, Role::Chunker, Role::Embedder, Role::Store];

/// A configuration with its stages.
struct Built {
    config: Arc<Config>,
    factory: Arc<StageFactory>,
    projects: BTreeMap<String, Arc<Project>>,
}

/// Builds configurations, each once.
pub(super) struct Generations {
    state: Arc<dyn State>,
    options: WorkerOptions,
    me: Worker,
    cancel: CancellationToken,
    /// One is built at a time. What is wrong with one is kept.
    built: tokio::sync::Mutex<BTreeMap<i64, Result<Arc<Built>, StageError>>>,
    /// The run in which each project was worked on last.
    runs: Mutex<BTreeMap<String, String>>,
}

impl Generations {
    pub(super) fn new(
        state: Arc<dyn State>,
        options: WorkerOptions,
        me: Worker,
        cancel: CancellationToken,
    ) -> Self {
        Self { state, options, me, cancel, built: tokio::sync::Mutex::default(), runs: Mutex::default() }
    }

    /// Says that the worker is there.
    pub(super) async fn enter(&self) {
        let Ok(queue) = queue(&*self.state) else { return };
        if let Err(error) = queue.enter(&self.me).await {
            tracing::warn!(error = %error.one_line(), "cannot record that the worker is there");
        }
    }

    /// Builds a configuration, and records whether that was possible.
    pub(super) async fn take_up(&self, number: i64) -> StageResult<WorkerSettings> {
        self.get(number).await.map(|built| built.config.workers)
    }

    async fn get(&self, number: i64) -> StageResult<Arc<Built>> {
        let mut built = self.built.lock().await;
        if let Some(known) = built.get(&number) {
            return known.clone();
        }
        let last = built.values().rev().find_map(|known| known.as_ref().ok().cloned());
        let made = match self.make(number, last).await {
            // The database or a registry is away: it is tried again.
            Err(error) if matches!(error.kind, ErrorKind::Transient { .. }) => return Err(error),
            made => made,
        };
        let refused = made.as_ref().err().map(StageError::one_line);
        if let Some(reason) = &refused {
            tracing::error!(generation = number, reason, "the configuration cannot be used here");
        } else {
            tracing::info!(generation = number, "the configuration is taken up");
        }
        queue(&*self.state)?.answer_generation(number, &self.me.id, refused).await?;
        built.insert(number, made.clone());
        while built.len() > KEPT {
            built.pop_first();
        }
        made
    }

    async fn make(&self, number: i64, last: Option<Arc<Built>>) -> StageResult<Arc<Built>> {
        let generation = queue(&*self.state)?.generation(number).await?.ok_or_else(|| {
            StageError::local("worker", format!("configuration {number} is not in the database any more"))
        })?;
        if generation.version != self.me.version {
            let message =
                format!("it is of RepoSync {}, and this worker of {}", generation.version, self.me.version);
            return Err(StageError::misconfigured("worker", message)
                .hint("run daemons and workers of one version; units of another one are left alone"));
        }
        let mut given = Vec::new();
        for component in &generation.components {
            let file = if component.is_file { Some(self.file(&component.digest).await?) } else { None };
            let (stage, sha256) = (component.stage.clone(), component.digest.clone());
            given.push(GivenComponent { stage, file, sha256 });
        }
        let (options, cancel) = (self.options.clone(), self.cancel.clone());
        let factory = match &last {
            Some(last) => Arc::clone(&last.factory),
            None => Arc::new(
                StageFactory::new(cancel, EventSink::none()).with_allowances(self.state.allowances()),
            ),
        };
        let built = move || build(&options, &generation, given, &factory);
        tokio::task::spawn_blocking(built).await.map_err(|error| {
            StageError::new("worker", ErrorKind::Bug, "building the configuration panicked").caused_by(error)
        })?
    }

    /// The file of a component, which is written where it is not there yet.
    async fn file(&self, digest: &str) -> StageResult<PathBuf> {
        // It names a file.
        if digest.is_empty() || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(StageError::misconfigured(
                "worker",
                "a component of the configuration has no valid digest",
            ));
        }
        let folder = self.options.folder.join("components");
        let file = folder.join(format!("{digest}.wasm"));
        if file.exists() {
            return Ok(file);
        }
        let bytes = queue(&*self.state)?.component(digest).await?.ok_or_else(|| {
            StageError::local("worker", format!("component {digest} is not in the database any more"))
        })?;
        let cannot = |error: std::io::Error| {
            StageError::local("worker", format!("cannot write `{}`", file.display())).caused_by(error)
        };
        state_folder::make(&folder).map_err(cannot)?;
        // The host checks the digest when it loads the component.
        private::replace(&file, &bytes).map_err(cannot)?;
        Ok(file)
    }
}

/// Builds the projects of a generation.
fn build(
    options: &WorkerOptions,
    generation: &Generation,
    given: Vec<GivenComponent>,
    last: &StageFactory,
) -> StageResult<Arc<Built>> {
    let need = Need { projects: generation.projects.clone(), ..options.need.clone() };
    let need = need.only(ROLES).with_given(options.state.clone(), given);
    let path = options.folder.join("reposync.toml");
    let mut config = config::load_text(&path, &generation.text, &need)
        .map_err(|problems| StageError::misconfigured("worker", problems.one_line()))?;
    // The run notifies.
    config.projects.iter_mut().for_each(|project| project.notifiers.clear());
    let factory = last.next(&config);
    let mut projects = BTreeMap::new();
    for name in &generation.projects {
        let Some(project) = config.project(name) else { continue };
        let project = factory.project(&config, project).map_err(|error| {
            let message = format!("project `{name}`, stage `{}`: {}", error.stage, error.one_line());
            StageError { message, ..error }
        })?;
        projects.insert(name.clone(), Arc::new(project));
    }
    Ok(Arc::new(Built { config: Arc::new(config), factory: Arc::new(factory), projects }))
}

#[async_trait]
impl Workshop for Generations {
    async fn project(&self, unit: &ClaimedUnit) -> StageResult<(Engine, Arc<Project>)> {
        let built = self.get(unit.generation).await.map_err(|error| match error.kind {
            ErrorKind::Transient { .. } => error,
            // It is left to workers that can.
            _ => StageError { kind: ErrorKind::Cancelled, ..error },
        })?;
        let project = built.projects.get(&unit.project).cloned().ok_or_else(|| {
            let message = format!("the configuration holds no project `{}` for workers", unit.project);
            StageError::new("worker", ErrorKind::Bug, message)
        })?;
        let last = self.runs.lock().insert(unit.project.clone(), unit.run.clone());
        if last.as_ref() != Some(&unit.run) {
            project.chunkers.iter().for_each(|chunker| chunker.begin_run());
        }
        let (state, cancel) = (Arc::clone(&self.state), self.cancel.clone());
        Ok((built.factory.engine(&built.config, state, EventSink::none(), cancel), project))
    }
}
