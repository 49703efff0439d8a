//! The use cases: what users and programs can ask of the engine, each in one place. The command line, the daemon
//! and its API call them, and only translate arguments and results.
//!
//! An [`App`] is a configuration with its stages and the state. A command makes one and builds the stages that
//! it uses; the daemon has one for each generation of the file, with all stages built.

mod apply;
mod audit;
mod chunks;
mod contents;
mod copy_state;
mod error;
mod explain;
mod files;
mod freshness;
mod grep;
mod plan;
mod plans;
mod quality;
mod query;
mod queue;
mod read;
mod recipe_text;
mod repositories;
mod scope;
mod settings;
mod status;
mod units;
mod usage;
mod vectors;
mod verify;
mod visible;
mod waits;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::config::Config;
pub use crate::embed::count_tokens;
use crate::factory::{self, RunFlags, StageFactory};
use crate::model::{Access, ErrorKind, EventSink, StageError, StageResult};
use crate::state::{Lease, State};
use crate::sync::{Candidate, Project, ProjectStore};

pub use apply::ApplyRequest;
pub use contents::{ChangeView, ChangesView, ContentView};
pub use copy_state::copy_state;
pub use error::{AppError, AppResult};
pub use files::{FileView, FilesPage, FilesRequest, RecipeFiles};
pub use grep::{GrepAnswer, GrepFile, GrepLine, GrepRequest};
pub use plan::PlanRequest;
pub use plans::{PlanSummary, PlanView, StorePlanRequest, UnpackedPlan};
pub use query::{query, searches};
pub use queue::{DaemonRow, QueueCounts, QueueView, UnitQuery, UnitRow, UnitState, WorkerRow};
pub use read::IndexedFile;
pub use recipe_text::recipe_text;
pub use repositories::RepositoryView;
pub use scope::Scope;
pub use status::{status, work_trees};
pub use usage::{DayUsage, ProjectUsage, Quantiles, UsageFigures, UsageRequest, UsageView};
pub use vectors::{ForeignRecord, PlaceDescription, Vectors};
pub(crate) use visible::{Narrow, sees_event};
pub use waits::Waits;

/// The enabled projects, each with its stages or with why they cannot be built.
pub type BuiltProjects = BTreeMap<String, StageResult<Arc<Project>>>;

/// What the use cases work on. Cheap to clone.
#[derive(Clone)]
pub struct App {
    config: Arc<Config>,
    factory: Arc<StageFactory>,
    state: Arc<dyn State>,
    /// `None`: stages are built when they are used.
    built: Option<Arc<BuiltProjects>>,
    /// The projects and repositories that the caller may see.
    access: Arc<Access>,
    events: EventSink,
    cancel: CancellationToken,
}

impl App {
    /// For a command that reads. The state is empty if there is none yet.
    pub async fn for_reading(
        config: Config,
        events: EventSink,
        cancel: CancellationToken,
    ) -> StageResult<Self> {
        let state = factory::open_for_reading(&config.engine.state).await?;
        Ok(Self::of_command(config, state, events, cancel))
    }

    /// For a command that writes, with a lease on all projects. `wait`: waits for another run to end instead of
    /// failing.
    pub async fn for_run(
        config: Config,
        wait: bool,
        events: EventSink,
        cancel: CancellationToken,
    ) -> StageResult<(Self, Lease)> {
        let (state, lease) = factory::open_for_run(&config.engine.state, wait, config.workers).await?;
        let waits = Waits::new(&config.engine.state);
        let events = EventSink::new(move |event| {
            waits.see(&event);
            events.emit(event);
        });
        Ok((Self::of_command(config, state, events, cancel), lease))
    }

    fn of_command(
        config: Config,
        state: Arc<dyn State>,
        events: EventSink,
        cancel: CancellationToken,
    ) -> Self {
        let factory = StageFactory::new(cancel.clone(), events.clone()).with_allowances(state.allowances());
        let factory = Arc::new(factory);
        Self { config: Arc::new(config), factory, state, built: None, access: Arc::default(), events, cancel }
    }

    /// For a process whose stages are built.
    pub fn of_built(
        config: Arc<Config>,
        factory: Arc<StageFactory>,
        built: Arc<BuiltProjects>,
        state: Arc<dyn State>,
        cancel: CancellationToken,
    ) -> Self {
        let (access, events) = (Arc::default(), EventSink::none());
        Self { config, factory, state, built: Some(built), access, events, cancel }
    }

    /// The same for a caller that may see only a part. Projects and repositories outside of it are treated as ones
    /// that do not exist.
    #[must_use]
    pub fn seen_by(self, access: Arc<Access>) -> Self {
        Self { access, ..self }
    }

    /// The same, with other events and another end.
    #[must_use]
    pub fn with(self, events: EventSink, cancel: CancellationToken) -> Self {
        Self { events, cancel, ..self }
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Checks that these projects are in the file, and enabled where the stages of enabled ones alone are built.
    fn check_names(&self, names: &[String]) -> AppResult<()> {
        check_declared(&self.config, names, &self.access)?;
        let disabled =
            names.iter().find(|name| self.built.as_ref().is_some_and(|built| !built.contains_key(*name)));
        disabled.map_or(Ok(()), |name| Err(AppError::Disabled(name.clone())))
    }

    /// The projects of these names (all enabled ones if empty), with their stages.
    async fn candidates(&self, names: &[String]) -> StageResult<Vec<Candidate>> {
        if let Some(built) = &self.built {
            let chosen = built.iter().filter(|(name, _)| self.is_chosen(names, name));
            let candidate = |(name, project): (&String, &StageResult<Arc<Project>>)| Candidate {
                name: name.clone(),
                project: project.clone(),
            };
            return Ok(chosen.map(candidate).collect());
        }
        let names = names.to_vec();
        self.off_executor(move |factory, config| factory.candidates(config, &names)).await
    }

    /// The projects of these names (all enabled ones if empty), with their stores.
    fn stores(&self, names: &[String]) -> Vec<(String, StageResult<ProjectStore>)> {
        let Some(built) = &self.built else { return self.factory.stores(&self.config, names) };
        let chosen = built.iter().filter(|(name, _)| self.is_chosen(names, name));
        let store = |(name, project): (&String, &StageResult<Arc<Project>>)| {
            let store = project.as_ref().map(|project| ProjectStore::from(&**project));
            (name.clone(), store.map_err(Clone::clone))
        };
        chosen.map(store).collect()
    }

    /// True for a project of these names (all if empty) that may be seen.
    fn is_chosen(&self, names: &[String], name: &String) -> bool {
        self.access.has_project(name) && (names.is_empty() || names.contains(name))
    }

    /// What a run over the file shares.
    fn engine(&self) -> Arc<crate::sync::Engine> {
        let (state, events, cancel) = (Arc::clone(&self.state), self.events.clone(), self.cancel.clone());
        let engine = self.factory.engine(&self.config, state, events, cancel);
        Arc::new(crate::sync::Engine { units: self.units(), ..engine })
    }

    /// The options of a run, from the file and what was asked for.
    fn options(&self, flags: RunFlags) -> crate::sync::Options {
        factory::options(&self.config, flags)
    }

    /// Builds stages on a blocking thread. Components are compiled and started then; on a thread of the
    /// executor one that prints would panic.
    async fn off_executor<T: Send + 'static>(
        &self,
        work: impl FnOnce(&StageFactory, &Config) -> T + Send + 'static,
    ) -> StageResult<T> {
        let (factory, config) = (Arc::clone(&self.factory), Arc::clone(&self.config));
        tokio::task::spawn_blocking(move || work(&factory, &config)).await.map_err(|error| {
            StageError::new("engine", ErrorKind::Bug, "building the stages panicked").caused_by(error)
        })
    }
}

/// Checks that these projects are in the file, and may be seen.
fn check_declared(config: &Config, names: &[String], access: &Access) -> AppResult<()> {
    let exists = |name: &&String| access.has_project(name) && config.project(name).is_some();
    let Some(name) = names.iter().find(|name| !exists(name)) else { return Ok(()) };
    let known = config.project_names().into_iter().filter(|name| access.has_project(name)).collect();
    Err(AppError::NoProject { name: name.clone(), known })
}
