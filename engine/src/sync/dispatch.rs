//! Hands the tasks of a run to workers, while there are any, and carries them out itself otherwise.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{OnceCell, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument as _;

use super::decide::{Removals, RepositoryEnd};
use super::execute::Execute;
use super::project::{Consumer, Room};
use super::project_run::ProjectRun;
use super::setup::{Engine, Project, Units};
use super::unit::{UnitProgress, UnitResult, UnitTask};
use super::units::{Worker, Workshop};
use crate::model::{ErrorKind, Event, Fingerprint, StageError, StageResult};
use crate::plan::RepositoryTask;
use crate::state::{
    ClaimedUnit, Fence, NewUnit, Placed, Queue, UnitClaim, UnitNews, UnitRow, UnitState, WorkerRow,
};

/// Workers must be of this version.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// How often the queue is asked for progress.
const FOLLOW: Duration = Duration::from_millis(500);

/// Hands tasks to workers.
pub(super) struct Dispatch {
    execute: Execute,
    shared: Arc<Shared>,
    /// Follows the units, and works on them; started with the first one.
    tasks: Mutex<JoinSet<()>>,
    generation: OnceCell<i64>,
    /// Ends the tasks of a run that is dropped.
    _ends: DropGuard,
    /// Whether there were workers, and when that was found out.
    workers: tokio::sync::Mutex<Option<(Instant, bool)>>,
}

struct Shared {
    run: Arc<ProjectRun>,
    units: Arc<Units>,
    /// The run's id.
    id: String,
    waiting: Mutex<HashMap<i64, Waiting>>,
    /// Ends the tasks.
    over: CancellationToken,
}

/// A unit whose result is waited for.
struct Waiting {
    answer: oneshot::Sender<Ended>,
    progress: UnitProgress,
}

/// The end of a unit.
enum Ended {
    Done(Box<UnitResult>),
    Dead(String),
}

impl Dispatch {
    /// `None`: units cannot be handed out, as there is no queue, or as the stages of the project work only on this
    /// machine. Units that an earlier run of the project has left are deleted.
    pub(super) async fn of(
        run: &Arc<ProjectRun>,
        id: &str,
        execute: Execute,
    ) -> StageResult<Result<Self, Execute>> {
        let Some(units) = run.engine.units.clone().filter(|_| !run.project.is_local) else {
            return Ok(Err(execute));
        };
        let shared = Shared {
            run: Arc::clone(run),
            units,
            id: id.to_owned(),
            waiting: Mutex::default(),
            over: CancellationToken::new(),
        };
        shared.clear().await?;
        Ok(Ok(Self {
            execute,
            _ends: shared.over.clone().drop_guard(),
            shared: Arc::new(shared),
            tasks: Mutex::default(),
            generation: OnceCell::new(),
            workers: tokio::sync::Mutex::default(),
        }))
    }

    /// Whether there are workers who could take a unit.
    async fn has_workers(&self) -> StageResult<bool> {
        let Shared { units, .. } = &*self.shared;
        if !units.settings.local {
            return Ok(true);
        }
        let mut known = self.workers.lock().await;
        if let Some((at, found)) = *known
            && at.elapsed() < units.settings.poll
        {
            return Ok(found);
        }
        let workers = self.shared.queue()?.workers().await?;
        let is_able = |worker: &WorkerRow| worker.refused.is_none() && worker.version == VERSION;
        let found = workers.iter().any(is_able);
        *known = Some((Instant::now(), found));
        Ok(found)
    }

    /// Puts a unit into the queue and waits for its end.
    async fn hand_out(&self, task: RepositoryTask) -> StageResult<RepositoryEnd> {
        let shared = &self.shared;
        let queue = shared.queue()?;
        let generation = *self.generation.get_or_try_init(|| shared.generation()).await?;
        let (entry, commit, removals) = (task.entry.clone(), task.commit, task.removals());
        let run = &shared.run;
        run.emit(Event::RepositoryPlanned {
            project: run.name().to_owned(),
            repository: entry.repo.name.clone(),
            changes: task.diff.writes.len() as u64,
            removals: task.diff.removals.len() as u64,
        });
        let unit = shared.unit(task, generation);
        let id = match queue.put(run.fence()?, unit).await? {
            Placed::Queued(id) => id,
            Placed::Dead(unit) => return Err(given_up(run, &unit)),
        };
        let (answer, ended) = oneshot::channel();
        shared.waiting.lock().insert(id, Waiting { answer, progress: UnitProgress::default() });
        self.start();
        let ended = tokio::select! {
            ended = ended => ended.map_err(|_| StageError::cancelled("engine"))?,
            () = run.stop.cancelled() => return Err(StageError::cancelled("engine")),
        };
        match ended {
            Ended::Done(result) => shared
                .taken(*result, RepositoryEnd { entry, commit, settled: true, withheld: false, removals }),
            Ended::Dead(reason) => Err(dead(run, id, &reason)),
        }
    }

    /// Starts following and working, with the first unit.
    fn start(&self) {
        let mut tasks = self.tasks.lock();
        if !tasks.is_empty() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        tasks.spawn(async move { shared.follow().await }.in_current_span());
        if self.shared.units.settings.local {
            let worker = self.shared.worker();
            let work = async move {
                if let Err(error) = worker.run().await {
                    tracing::error!(error = %error.one_line(), "cannot work on units");
                }
            };
            tasks.spawn(work.in_current_span());
        }
    }

    /// Ends the tasks, and deletes units that remain after an interrupted run.
    pub(super) async fn end(self) -> StageResult<()> {
        self.shared.over.cancel();
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        let began = !tasks.is_empty();
        while tasks.join_next().await.is_some() {}
        if began { self.shared.clear().await } else { Ok(()) }
    }
}

#[async_trait]
impl Consumer for Dispatch {
    async fn room(&self, task: &RepositoryTask) -> StageResult<Room> {
        // A task in the queue takes no memory here.
        if self.has_workers().await? { Ok(Room::default()) } else { self.execute.room(task).await }
    }

    async fn repository(&self, task: RepositoryTask) -> StageResult<RepositoryEnd> {
        if self.has_workers().await? {
            self.hand_out(task).await
        } else {
            self.execute.repository(task).await
        }
    }

    async fn removals(&self, removals: Removals) -> StageResult<()> {
        self.execute.removals(removals).await
    }
}

impl Shared {
    fn queue(&self) -> StageResult<&dyn Queue> {
        self.run
            .engine
            .state
            .queue()
            .ok_or_else(|| StageError::new("engine", ErrorKind::Bug, "the state has no queue for workers"))
    }

    /// The number of this run's configuration.
    async fn generation(&self) -> StageResult<i64> {
        let make = Arc::clone(&self.units.generation);
        let made = tokio::task::spawn_blocking(move || make()).await.map_err(|error| {
            StageError::new("engine", ErrorKind::Bug, "reading the configuration panicked").caused_by(error)
        })?;
        self.queue()?.put_generation(&made?).await
    }

    async fn clear(&self) -> StageResult<()> {
        self.queue()?.clear(self.run.fence()?, &[self.run.name().to_owned()]).await
    }

    fn unit(&self, task: RepositoryTask, generation: i64) -> NewUnit {
        let run = &self.run;
        let digest = Fingerprint::of([run.basis.fingerprint().as_str(), &task.commit.to_string(), VERSION]);
        let repository = task.repository().to_owned();
        let unit = UnitTask { task, full: run.options.full, embedding_withheld: run.embedding_withheld() };
        NewUnit {
            run: self.id.clone(),
            project: run.name().to_owned(),
            repository,
            generation,
            digest: digest.to_string(),
            task: serde_json::to_string(&unit).unwrap_or_default(),
        }
    }

    /// A worker of this process, for the units of this project's run.
    fn worker(self: &Arc<Self>) -> Worker {
        let settings = self.units.settings;
        let claim =
            UnitClaim { of: Some((self.id.clone(), self.run.name().to_owned())), ..self.units.claim.clone() };
        let workshop = Own(Arc::clone(&self.run));
        let cancel = self.over.child_token();
        let stop = self.run.stop.clone();
        let ends = cancel.clone();
        // An interrupted project ends its worker.
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => ends.cancel(),
                () = ends.cancelled() => {}
            }
        });
        let state = Arc::clone(&self.run.engine.state);
        Worker { state, claim, poll: settings.poll, workshop: Arc::new(workshop), cancel }
    }

    /// Takes news of the units until the run is over.
    async fn follow(&self) {
        let Ok(queue) = self.queue() else { return };
        let mut news = queue.news();
        while !self.over.is_cancelled() {
            tokio::select! {
                () = self.over.cancelled() => return,
                // Who has it now may have deleted the units.
                () = self.run.lease_ends() => return self.run.fail(Fence::lost()),
                Ok(()) = news.changed() => {}
                () = tokio::time::sleep(FOLLOW) => {}
            }
            match queue.of_run(&self.id, self.run.name()).await {
                Ok(units) => {
                    // Whether a worker makes progress is decided by the lease on its unit.
                    if !self.waiting.lock().is_empty() {
                        self.run.moved();
                    }
                    let ended = units.into_iter().filter_map(|unit| self.take(unit)).collect::<Vec<_>>();
                    if !ended.is_empty()
                        && let Ok(fence) = self.run.fence()
                        && let Err(error) = queue.forget(fence, ended).await
                    {
                        self.run.fail(error);
                    }
                }
                Err(error) => self.run.fail(error),
            }
        }
    }

    /// Takes the news of a unit; its number, if it is done.
    fn take(&self, unit: UnitNews) -> Option<i64> {
        let mut waiting = self.waiting.lock();
        // It was put this moment, and is not waited for yet.
        let known = waiting.get_mut(&unit.id)?;
        match unit.state {
            UnitState::Done => {
                let result: Option<UnitResult> =
                    unit.result.as_deref().and_then(|result| serde_json::from_str(result).ok());
                let result = result.unwrap_or_else(|| {
                    let error =
                        StageError::new("engine", ErrorKind::Bug, "the result of the unit cannot be read");
                    UnitResult::refused("", &error)
                });
                result.progress.since(&known.progress).into_iter().for_each(|event| self.run.emit(event));
                let known = waiting.remove(&unit.id)?;
                // The run may have been interrupted.
                drop(known.answer.send(Ended::Done(Box::new(result))));
                Some(unit.id)
            }
            UnitState::Dead | UnitState::Dropped => {
                let known = waiting.remove(&unit.id)?;
                drop(known.answer.send(Ended::Dead(unit.reason.unwrap_or_default())));
                None
            }
            UnitState::Ready | UnitState::Running => {
                let progress = unit.progress.as_deref().and_then(|text| serde_json::from_str(text).ok());
                if let Some(progress) = progress {
                    let progress: UnitProgress = progress;
                    progress.since(&known.progress).into_iter().for_each(|event| self.run.emit(event));
                    known.progress = progress;
                }
                None
            }
        }
    }

    /// Adds a unit's result to the run.
    fn taken(&self, result: UnitResult, end: RepositoryEnd) -> StageResult<RepositoryEnd> {
        let run = &self.run;
        for failure in &result.report.failures {
            run.emit(Event::Failed {
                project: run.name().to_owned(),
                repository: failure.repository.clone().unwrap_or_default(),
                path: failure.path.clone(),
                error: failure.error.clone(),
            });
        }
        run.stats.absorb(result.report);
        let done = result.end?;
        let mut removals = end.removals;
        removals.retain(|file| !done.keep.contains(&file.path));
        Ok(RepositoryEnd { settled: done.settled, withheld: done.withheld, removals, ..end })
    }
}

/// The run's own project, as its own worker finds it.
struct Own(Arc<ProjectRun>);

#[async_trait]
impl Workshop for Own {
    async fn project(&self, _unit: &ClaimedUnit) -> StageResult<(Engine, Arc<Project>)> {
        Ok(((*self.0.engine).clone(), Arc::clone(&self.0.project)))
    }
}

/// The error of a repository on which workers have used up their attempts.
fn dead(run: &ProjectRun, id: i64, reason: &str) -> StageError {
    let stage = run.project.source.stage();
    StageError::refused(stage, format!("workers gave it up: {reason}"))
        .hint(format!("see `reposync queue show {id}`; after the cause is gone, `reposync queue retry {id}`"))
}

/// The same where that was in an earlier run.
fn given_up(run: &ProjectRun, unit: &UnitRow) -> StageError {
    let reason = unit.reason.clone().unwrap_or_default();
    let attempts = unit.attempts;
    let error = dead(run, unit.id, &reason);
    StageError {
        message: format!("{} (after {attempts} attempts, in an earlier run)", error.message),
        ..error
    }
}
