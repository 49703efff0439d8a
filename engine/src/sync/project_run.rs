//! One project in one run: what its tasks share.

use std::sync::{Arc, Once, OnceLock};

use async_trait::async_trait;
use chrono::Utc;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::budget::Share;
use super::findings::Findings;
use super::setup::{Engine, Options, Project, Recipes};
use super::stats::RunStats;
use crate::model::{ErrorKind, Event, Place, StageError, StageResult, StoredAnswer, Withheld};
use crate::plan::Basis;
use crate::source::AnswerCache;
use crate::state::{Fence, FileKey, Lease, ProjectState, State, UnchangedRepository};
use crate::upstream::{Expected, Upstream};

/// What the tasks of one project's run share.
pub(crate) struct ProjectRun {
    pub(crate) engine: Arc<Engine>,
    pub(crate) project: Arc<Project>,
    pub(crate) options: Arc<Options>,
    /// What is recorded of the project: the engine's state, or a scratch one for a plan of a new project.
    pub(crate) state: Arc<dyn State>,
    /// Allows writing to the state; `None` for a plan that may not.
    lease: Option<Lease>,
    /// Where its vectors belong.
    pub(crate) place: Place,
    pub(crate) recipes: Recipes,
    /// Components of a vector.
    pub(crate) dimensions: usize,
    /// Its share of the bytes in flight.
    pub(crate) in_flight: Share,
    /// What may still come to the writer.
    pub(super) writes: Upstream,
    /// Its share of the repositories that are read at once.
    pub(crate) fetches: Share,
    /// What decides, besides the trees, which files are indexed and how.
    pub(crate) basis: Basis,
    /// The same, as it is recorded of each repository.
    pub(crate) recorded_basis: String,
    /// Set after the change of the basis was reported.
    told_basis: Once,
    pub(crate) stats: RunStats,
    pub(crate) findings: Findings,
    /// True for a plan: nothing is written.
    pub(crate) dry: bool,
    /// Set where the spending guard withholds what would have to be embedded.
    embedding_withheld: OnceLock<Withheld>,
    /// False where a run would have to create the store: it holds nothing.
    pub(crate) store_exists: bool,
    /// Ends this project; a child of the run's.
    pub(crate) stop: CancellationToken,
    fatal: Mutex<Option<StageError>>,
    /// Repositories that were found unchanged, not recorded yet.
    unchanged: Mutex<Vec<UnchangedRepository>>,
}

/// Files that may come to the queue of texts and to the writer. As long as any may, these wait a moment for a full
/// call or group.
#[derive(Debug)]
pub(super) struct Announced {
    pub(super) texts: Expected,
    pub(super) write: Expected,
}

/// Unchanged repositories that are recorded in one transaction.
const CONFIRMED_AT_ONCE: usize = 10_000;

impl ProjectRun {
    /// Checks, before any cost, that embedder and store fit together, and records the project and its place in
    /// the state. A plan has no `lease` and records nothing: if the state does not know the project, it works
    /// on a scratch state in memory.
    pub(crate) async fn begin(
        engine: Arc<Engine>,
        project: Arc<Project>,
        options: Arc<Options>,
        lease: Option<Lease>,
    ) -> StageResult<Arc<Self>> {
        let dry = lease.is_none();
        let dimensions = project.embedder().dimensions().await?;
        let store_exists = if dry {
            project.store.peek(dimensions).await?
        } else {
            project.store.check(dimensions).await?;
            true
        };
        engine.bounds.make_room(project.embedder().limits(), dimensions);
        let place = project.store.place(&project.row.namespace).await?;
        let mut state = Arc::clone(&engine.state);
        let mut lease = lease;
        if dry && state.project(project.name(), &place).await?.is_none() {
            state = state.scratch()?;
            lease = Some(state.lease(&[]).await?.map_err(StageError::from)?);
        }
        let run = Self::new((engine, project, options), (state, lease), place, dimensions, dry, store_exists);
        if let Some(lease) = &run.lease {
            let (row, recipe) = (&run.project.row, run.basis.fingerprint());
            run.state.enter_project(lease.fence(), row, &run.place, &recipe, Utc::now()).await?;
        }
        Ok(run)
    }

    /// For one repository of a run that another process has begun: embedder and store were checked, and the project is
    /// recorded. `lease`: on the unit.
    pub(crate) async fn of_unit(
        engine: Arc<Engine>,
        project: Arc<Project>,
        options: Options,
        lease: Lease,
    ) -> StageResult<Arc<Self>> {
        let dimensions = project.embedder().dimensions().await?;
        let place = project.store.place(&project.row.namespace).await?;
        engine.bounds.make_room(project.embedder().limits(), dimensions);
        let state = Arc::clone(&engine.state);
        let shared = (engine, project, Arc::new(options));
        Ok(Self::new(shared, (state, Some(lease)), place, dimensions, false, true))
    }

    /// Announces one file, or a repository with its files.
    pub(super) fn announce(&self) -> Announced {
        Announced { texts: self.project.queue.expect(), write: self.writes.expect() }
    }

    fn new(
        (engine, project, options): (Arc<Engine>, Arc<Project>, Arc<Options>),
        (state, lease): (Arc<dyn State>, Option<Lease>),
        place: Place,
        dimensions: usize,
        dry: bool,
        store_exists: bool,
    ) -> Arc<Self> {
        let recipes = Recipes::new(Arc::clone(&project));
        let basis = recipes.basis();
        let stop = engine.cancel.child_token();
        let (in_flight, fetches) = (engine.bounds.in_flight.share(), engine.bounds.fetches.share());
        Arc::new(Self {
            engine,
            project,
            options,
            state,
            lease,
            place,
            recipes,
            dimensions,
            in_flight,
            writes: Upstream::default(),
            fetches,
            recorded_basis: basis.recorded(),
            basis,
            told_basis: Once::new(),
            stats: RunStats::default(),
            findings: Findings::default(),
            dry,
            embedding_withheld: OnceLock::new(),
            store_exists,
            stop,
            fatal: Mutex::default(),
            unchanged: Mutex::default(),
        })
    }

    /// True for a plan on a scratch state, into which it may write.
    pub(crate) fn is_scratch(&self) -> bool {
        self.dry && self.lease.is_some()
    }

    /// The project's name.
    pub(crate) fn name(&self) -> &str {
        self.project.name()
    }

    /// What allows writing to the state.
    pub(crate) fn fence(&self) -> StageResult<Fence> {
        Ok(self.lease()?.fence())
    }

    pub(super) fn lease(&self) -> StageResult<&Lease> {
        self.lease.as_ref().ok_or_else(|| {
            StageError::new("engine", ErrorKind::Bug, "a plan was about to write to the state")
        })
    }

    /// Resolves when the lease is about to end without having been renewed.
    pub(crate) async fn lease_ends(&self) {
        match &self.lease {
            Some(lease) => lease.ending().await,
            None => std::future::pending().await,
        }
    }

    /// Runs a call that changes a store; see [`Lease::while_held`].
    pub(crate) async fn while_held<T>(
        &self,
        call: impl Future<Output = StageResult<T>> + Send,
    ) -> StageResult<T> {
        self.lease()?.while_held(call).await
    }

    /// How the project stands.
    pub(crate) async fn project_state(&self) -> StageResult<ProjectState> {
        let state = self.state.project(self.name(), &self.place).await?;
        Ok(state.unwrap_or_default())
    }

    /// Emits an event, which is also progress.
    pub(crate) fn emit(&self, event: Event) {
        self.moved();
        self.engine.events.emit(event);
    }

    /// Reports progress where there is no event; see [`Lease::moved`].
    pub(crate) fn moved(&self) {
        if let Some(lease) = &self.lease {
            lease.moved();
        }
    }

    /// A repository is unchanged. Many are recorded together, at the latest by
    /// [`record_unchanged`](Self::record_unchanged); a run that is killed before only loses when it asked.
    pub(crate) async fn unchanged(&self, repository: UnchangedRepository) -> StageResult<()> {
        if self.dry {
            return Ok(());
        }
        let waiting = {
            let mut unchanged = self.unchanged.lock();
            unchanged.push(repository);
            unchanged.len()
        };
        if waiting >= CONFIRMED_AT_ONCE { self.record_unchanged().await } else { Ok(()) }
    }

    /// Records the repositories that were found unchanged.
    pub(crate) async fn record_unchanged(&self) -> StageResult<()> {
        let unchanged = std::mem::take(&mut *self.unchanged.lock());
        if unchanged.is_empty() {
            return Ok(());
        }
        self.state.confirm_repositories(self.fence()?, self.name(), unchanged, Utc::now()).await
    }

    /// A repository failed; the run goes on.
    pub(crate) fn repository_failed(&self, repository: &str, error: &StageError) {
        self.stats.failed(Some(repository), None, error);
        self.findings.failed(repository, error);
        self.emit(Event::Failed {
            project: self.name().to_owned(),
            repository: repository.to_owned(),
            path: None,
            error: error.one_line(),
        });
    }

    /// A file failed; the run goes on. What the index held of it stays.
    pub(crate) async fn file_failed(
        self: &Arc<Self>,
        repository: &str,
        path: &str,
        error: &StageError,
    ) -> StageResult<()> {
        self.stats.failed(Some(repository), Some(path), error);
        let line = error.one_line();
        self.emit(Event::Failed {
            project: self.name().to_owned(),
            repository: repository.to_owned(),
            path: Some(path.to_owned()),
            error: line.clone(),
        });
        let file = FileKey::new(repository, path);
        self.state.record_failure(self.fence()?, self.name(), &self.place, &file, &line).await
    }

    pub(crate) fn note(&self, note: String) {
        self.emit(Event::Note { project: self.name().to_owned(), message: note.clone() });
        self.stats.note(note);
    }

    /// Why trees are read again that did not change; reported once, for the first repository.
    pub(crate) fn note_changed_basis(&self, changed: &[&str]) {
        if !changed.is_empty() {
            self.told_basis.call_once(|| {
                self.note(format!(
                    "all files are compared again: changed since the last run: {}",
                    changed.join(", ")
                ));
            });
        }
    }

    /// Notes on single files, of which there may be many: the first ones are shown, the rest is counted.
    pub(crate) fn note_files(&self, notes: Vec<String>) {
        for note in notes {
            if self.stats.note_file(&note) {
                self.emit(Event::Note { project: self.name().to_owned(), message: note });
            }
        }
    }

    /// From here on files are written only where all their vectors are in the cache.
    pub(crate) fn withhold_embedding(&self, withheld: Withheld) {
        self.withheld(withheld.clone());
        self.keep_withheld(withheld);
    }

    /// The same where the run that a unit belongs to has reported it.
    pub(crate) fn keep_withheld(&self, withheld: Withheld) {
        drop(self.embedding_withheld.set(withheld));
    }

    /// Whether the spending guard withholds what would have to be embedded.
    pub(crate) fn is_embedding_withheld(&self) -> bool {
        self.embedding_withheld.get().is_some()
    }

    /// What the spending guard withholds.
    pub(crate) fn embedding_withheld(&self) -> Option<Withheld> {
        self.embedding_withheld.get().cloned()
    }

    /// A guard withheld something; the run goes on without it.
    pub(crate) fn withheld(&self, withheld: Withheld) {
        let message = withheld.message.clone();
        self.emit(Event::Note { project: self.name().to_owned(), message });
        self.stats.withheld(withheld);
    }

    /// Ends the project with an error. The first error is the one reported.
    pub(crate) fn fail(&self, error: StageError) {
        let mut fatal = self.fatal.lock();
        fatal.get_or_insert(error);
        self.stop.cancel();
    }

    /// What ended the project early.
    pub(crate) fn fatal(&self) -> Option<StageError> {
        self.fatal.lock().clone()
    }

    /// An error when the project is to begin nothing new.
    pub(crate) fn check_stopped(&self) -> StageResult<()> {
        if self.stop.is_cancelled() {
            Err(StageError::cancelled(self.project.source.stage()))
        } else {
            Ok(())
        }
    }
}

/// Conditional answers kept in the state. A failing state only costs requests here; it fails the run where it
/// matters.
pub(crate) struct StateAnswers {
    pub(crate) state: Arc<dyn State>,
    /// `None`: nothing is written.
    pub(crate) lease: Option<Lease>,
}

#[async_trait]
impl AnswerCache for StateAnswers {
    async fn get(&self, key: &str) -> Option<StoredAnswer> {
        // Called for each page of a listing, which has no other sign of progress.
        self.lease.iter().for_each(Lease::moved);
        self.state.answer(key).await.ok().flatten()
    }

    async fn put(&self, key: &str, answer: &StoredAnswer) {
        let Some(lease) = &self.lease else { return };
        if let Err(error) = self.state.put_answer(lease.fence(), key, answer, Utc::now()).await {
            tracing::warn!(error = %error.one_line(), "cannot keep an answer");
        }
    }
}
