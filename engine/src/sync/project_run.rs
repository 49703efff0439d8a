//! One project in one run: what its tasks share.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use chrono::Utc;
use tokio_util::sync::CancellationToken;

use super::budget::Share;
use super::findings::Findings;
use super::setup::{Engine, Options, Project, Recipes};
use super::stats::RunStats;
use crate::model::{Event, Fingerprint, Place, StageError, StageResult, Withheld};
use crate::source::AnswerCache;
use crate::state::{ProjectKey, SqliteState};

/// What the tasks of one project's run share.
pub(crate) struct ProjectRun {
    pub(crate) engine: Arc<Engine>,
    pub(crate) project: Arc<Project>,
    pub(crate) options: Arc<Options>,
    ledger: Arc<SqliteState>,
    /// The project's number in the ledger.
    pub(crate) id: i64,
    /// Where its vectors belong.
    pub(crate) place: Place,
    /// The same by its number in the ledger.
    pub(crate) place_id: i64,
    pub(crate) recipes: Recipes,
    /// Components of a vector.
    pub(crate) dimensions: usize,
    /// Its share of the bytes in flight.
    pub(crate) in_flight: Share,
    /// Its share of the repositories that are read at once.
    pub(crate) fetches: Share,
    /// What decides, besides the trees, which files are indexed and how.
    pub(crate) basis: Fingerprint,
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
}

impl ProjectRun {
    /// Checks, before any cost, that embedder and store fit together, and enters the project and
    /// its place into the ledger. A plan (`dry`) enters nothing: where the ledger does not know the
    /// project, it works on a scratch ledger in memory.
    pub(crate) async fn begin(
        engine: Arc<Engine>,
        project: Arc<Project>,
        options: Arc<Options>,
        dry: bool,
    ) -> StageResult<Arc<Self>> {
        let dimensions = project.embedder().dimensions().await?;
        let store_exists = if dry {
            project.store.peek(dimensions).await?
        } else {
            project.store.check(dimensions).await?;
            true
        };
        let place = project.store.place(&project.row.namespace).await?;
        let entered = if dry { peek(&engine, &project, &place).await? } else { None };
        let (ledger, (id, place_id)) = match entered {
            Some(ids) => (Arc::clone(&engine.ledger), ids),
            None if dry => {
                let scratch = Arc::new(SqliteState::in_memory()?);
                let ids = enter(&scratch, &project, &place).await?;
                (scratch, ids)
            }
            None => (Arc::clone(&engine.ledger), enter(&engine.ledger, &project, &place).await?),
        };
        let stop = engine.cancel.child_token();
        let recipes = Recipes::new(Arc::clone(&project));
        let basis = recipes.basis();
        let (stats, fatal) = (RunStats::default(), Mutex::default());
        let (in_flight, fetches) = (engine.bounds.in_flight.share(), engine.bounds.fetches.share());
        Ok(Arc::new(Self {
            engine,
            project,
            options,
            ledger,
            id,
            place,
            place_id,
            recipes,
            dimensions,
            in_flight,
            fetches,
            basis,
            stats,
            findings: Findings::default(),
            dry,
            embedding_withheld: OnceLock::new(),
            store_exists,
            stop,
            fatal,
        }))
    }

    /// True for a plan on a scratch ledger, into which it may write.
    pub(crate) fn is_scratch(&self) -> bool {
        !Arc::ptr_eq(&self.ledger, &self.engine.ledger)
    }

    /// The project's name.
    pub(crate) fn name(&self) -> &str {
        self.project.name()
    }

    /// How the ledger wants the project.
    pub(crate) fn key(&self) -> ProjectKey<'_> {
        (self.id, self.name())
    }

    /// Blocking work on the ledger.
    pub(crate) async fn ledger<T, F>(self: &Arc<Self>, work: F) -> StageResult<T>
    where
        T: Send + 'static,
        F: FnOnce(&SqliteState, ProjectKey<'_>) -> StageResult<T> + Send + 'static,
    {
        let run = Arc::clone(self);
        self.ledger.call(move |ledger| work(ledger, run.key())).await
    }

    pub(crate) fn emit(&self, event: Event) {
        self.engine.events.emit(event);
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
        let (repository, path) = (repository.to_owned(), path.to_owned());
        self.ledger(move |ledger, (id, _)| ledger.record_failure(id, &repository, &path, &line)).await
    }

    pub(crate) fn note(&self, note: String) {
        self.emit(Event::Note { project: self.name().to_owned(), message: note.clone() });
        self.stats.note(note);
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
        let mut fatal = self.fatal.lock().unwrap_or_else(PoisonError::into_inner);
        fatal.get_or_insert(error);
        self.stop.cancel();
    }

    /// What ended the project early.
    pub(crate) fn fatal(&self) -> Option<StageError> {
        self.fatal.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

/// The numbers of a project and its place, entered where they are new.
async fn enter(ledger: &Arc<SqliteState>, project: &Arc<Project>, place: &Place) -> StageResult<(i64, i64)> {
    let (project, place) = (Arc::clone(project), place.clone());
    ledger
        .call(move |ledger| Ok((ledger.put_project(&project.row, Utc::now())?, ledger.place_id(&place)?)))
        .await
}

/// The same without entering anything; none: the ledger does not know the project. A place that it
/// does not know holds nothing: -1 is no place's number.
async fn peek(engine: &Engine, project: &Arc<Project>, place: &Place) -> StageResult<Option<(i64, i64)>> {
    let (project, place) = (Arc::clone(project), place.clone());
    engine
        .ledger
        .call(move |ledger| {
            let Some(id) = ledger.project_id(project.name())? else { return Ok(None) };
            Ok(Some((id, ledger.find_place(&place)?.unwrap_or(-1))))
        })
        .await
}

/// Conditional answers kept in the ledger. A failing ledger only costs requests here; it fails the
/// run where it matters.
pub(crate) struct LedgerAnswers {
    pub(crate) ledger: Arc<SqliteState>,
    /// True for a plan: nothing is written.
    pub(crate) dry: bool,
}

impl AnswerCache for LedgerAnswers {
    fn get(&self, key: &str) -> Option<crate::model::StoredAnswer> {
        self.ledger.answer(key).ok().flatten()
    }

    fn put(&self, key: &str, answer: &crate::model::StoredAnswer) {
        if self.dry {
            return;
        }
        if let Err(error) = self.ledger.put_answer(key, answer) {
            tracing::warn!(error = %error.one_line(), "cannot keep an answer");
        }
    }
}
