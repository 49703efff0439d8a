//! One project's path, the same for a plan and for a run: which repositories there are, what differs in
//! each, what is done about it, and last, what leaves the index.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument as _;

use super::adopt::adopt;
use super::count::Count;
use super::decide::{Ends, Removals, RepositoryEnd, decide_removals};
use super::inspect::{RepoState, inspect};
use super::project_run::ProjectRun;
use super::resume::{PLAN_AGAIN, Resumable, resume};
use super::saved::SavedProject;
use super::spending::{self, Budget, Decision};
use super::survey::{Discovery, Listed, survey};
use crate::model::{Event, Phase, StageError, StageResult};
use crate::plan::{Missing, RepositoryTask};

/// Repositories of a project that are inspected at once: enough to hide the latency of their listings.
const INSPECTED: usize = 4;
/// Repositories of a project that are written at once. A small one waits for others, for a batch to be embedded
/// and a group to be recorded, and takes little.
const WRITTEN: usize = 32;
/// Changed files of the repositories that are written at once; a large repository counts as a quarter of it.
const FILES: usize = 20_000;
/// Repositories of a project that are under way at once, most of them with other processes.
const UNDER_WAY: usize = 4096;

/// What a task takes of what a consumer can do at once, until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Room {
    _taken: Vec<OwnedSemaphorePermit>,
}

/// How many tasks and files are taken at once.
#[derive(Debug, Clone)]
pub(crate) struct Rooms {
    tasks: Arc<Semaphore>,
    files: Arc<Semaphore>,
}

impl Default for Rooms {
    fn default() -> Self {
        Self { tasks: Arc::new(Semaphore::new(WRITTEN)), files: Arc::new(Semaphore::new(FILES)) }
    }
}

impl Rooms {
    /// Waits until there is room for a task.
    pub(crate) async fn take(&self, task: &RepositoryTask) -> Room {
        let size = (task.diff.writes.len() + 1).min(FILES / 4);
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let one = Arc::clone(&self.tasks).acquire_owned().await.expect("never closed");
        let files = Arc::clone(&self.files).acquire_many_owned(size).await.expect("never closed");
        Room { _taken: vec![one, files] }
    }
}

/// Takes the results of the path: a run carries them out, a plan adds them up.
#[async_trait]
pub(crate) trait Consumer: Send + Sync {
    /// Takes what the spending guard counted, by repository, if it had to read contents for a plan.
    fn counted(&self, _counts: Vec<(String, Count)>) {}

    /// Waits until there is room for a task.
    async fn room(&self, task: &RepositoryTask) -> StageResult<Room>;

    /// Takes a repository's task. Called for several repositories at once.
    async fn repository(&self, task: RepositoryTask) -> StageResult<RepositoryEnd>;

    /// Takes what leaves the index, once, after all repositories.
    async fn removals(&self, removals: Removals) -> StageResult<()>;
}

/// Where a repository's task comes from.
enum Origin {
    /// It is inspected.
    Listed(Box<Listed>),
    /// A saved plan holds it.
    Saved(Box<Resumable>),
}

/// Takes the path to its end. `saved`: the tasks are those of a saved plan, and nothing else is done.
pub(crate) async fn drive(
    run: &Arc<ProjectRun>,
    saved: Option<SavedProject>,
    consumer: &dyn Consumer,
) -> StageResult<()> {
    let before = adopt(run).await?;
    let Discovery { listed, mut missing } = survey(run, before.selection.clone()).await?;
    run.stats.count(|counts| counts.repositories = listed.len() as u64);
    let ends = Mutex::new(Ends::default());
    if let Some(saved) = saved {
        run.emit(Event::Expected { phase: Phase::List, n: saved.tasks });
        missing.retain(|missing| saved.end.dissolved.contains(&missing.name));
        report_returned(run, &saved, &missing);
        if let Some(withheld) = saved.end.embedding_withheld.clone() {
            run.withhold_embedding(withheld);
        }
        let tasks = saved.resumable(listed)?;
        ends.lock().withheld = saved.end.withheld;
        as_they_come(run, tasks.map_ok(Origin::Saved).boxed(), consumer, &ends).await?;
    } else {
        run.emit(Event::Expected { phase: Phase::List, n: listed.len() as u64 });
        let budget = spending::budget(run, &before);
        let origins = listed.into_iter().map(|listed| Origin::Listed(Box::new(listed)));
        if run.options.spending.is_idle(budget) {
            as_they_come(run, stream::iter(origins.map(Ok)).boxed(), consumer, &ends).await?;
        } else {
            after_the_guard(run, origins, budget, consumer, &ends).await?;
        }
    }
    run.record_unchanged().await?;
    run.check_stopped()?;
    let ends = ends.into_inner();
    let removals = decide_removals(run, ends, missing, before.vectors).await?;
    consumer.removals(removals).await
}

/// Reports repositories whose files a saved plan removes, and which are listed again: they are left alone.
fn report_returned(run: &ProjectRun, saved: &SavedProject, missing: &[Missing]) {
    for name in &saved.end.dissolved {
        if !missing.iter().any(|missing| missing.name == *name) {
            let error =
                StageError::refused("plan", "it is listed again since the plan was made; its files stay")
                    .hint(PLAN_AGAIN);
            run.repository_failed(name, &error);
        }
    }
}

/// Takes each repository's task as soon as it is known. With the next function the one place of a project
/// where things happen side by side.
async fn as_they_come(
    run: &Arc<ProjectRun>,
    origins: BoxStream<'_, StageResult<Origin>>,
    consumer: &dyn Consumer,
    ends: &Mutex<Ends>,
) -> StageResult<()> {
    let inspecting = Semaphore::new(INSPECTED);
    // One stream for both steps: a request of the first would time out while the second is full.
    let work = origins.map(|origin| async {
        match origin {
            Ok(origin) => {
                let turn = inspecting.acquire().await.expect("never closed");
                let announced = run.announce();
                let task = task(run, origin, ends).await;
                // Those under way are not to wait for one that waits for room.
                drop(announced);
                if let Some(task) = task {
                    let room = consumer.room(&task).await;
                    // Given back only now, so that few inspected tasks wait for room, and take memory.
                    drop(turn);
                    take(run, consumer, (*task, room), ends).await;
                }
            }
            Err(error) => run.fail(error),
        }
    });
    work.buffer_unordered(UNDER_WAY).collect::<()>().await;
    run.fatal().map_or(Ok(()), Err)
}

/// Takes the tasks once the spending guard has seen all of them.
async fn after_the_guard(
    run: &Arc<ProjectRun>,
    origins: impl Iterator<Item = Origin>,
    budget: Budget,
    consumer: &dyn Consumer,
    ends: &Mutex<Ends>,
) -> StageResult<()> {
    let inspected = stream::iter(origins.map(|origin| task(run, origin, ends))).buffer_unordered(INSPECTED);
    let tasks: Vec<RepositoryTask> =
        inspected.filter_map(|task| async { task.map(|task| *task) }).collect().await;
    run.fatal().map_or(Ok(()), Err)?;
    let Decision { withheld, counts } = spending::decide(run, &tasks, budget).await?;
    if let Some(withheld) = withheld {
        run.withhold_embedding(withheld);
    }
    consumer.counted(counts);
    let work = tasks.into_iter().map(|task| async {
        let room = consumer.room(&task).await;
        take(run, consumer, (task, room), ends).await;
    });
    stream::iter(work).buffer_unordered(UNDER_WAY).collect::<()>().await;
    run.fatal().map_or(Ok(()), Err)
}

/// A repository's task. `None`: it is unchanged, empty, gone or failed, which is recorded in `ends`.
async fn task(run: &Arc<ProjectRun>, origin: Origin, ends: &Mutex<Ends>) -> Option<Box<RepositoryTask>> {
    let name = match &origin {
        Origin::Listed(listed) => listed.entry.repo.name.clone(),
        Origin::Saved(saved) => saved.task.repository().to_owned(),
    };
    let span = tracing::info_span!("repository", repository = name);
    let state = async {
        run.check_stopped()?;
        match origin {
            Origin::Listed(listed) => inspect(run, *listed).await,
            Origin::Saved(saved) => resume(run, *saved).await,
        }
    };
    let state = state.instrument(span).await;
    run.emit(Event::Done { phase: Phase::List, n: 1 });
    let lock = || ends.lock();
    match state {
        Ok(RepoState::Changed(task)) => return Some(task),
        Ok(RepoState::Unchanged) => {
            run.stats.count(|counts| counts.repositories_unchanged += 1);
            run.emit(Event::RepositoryUnchanged { project: run.name().to_owned(), repository: name });
        }
        Ok(RepoState::Empty) => {
            run.findings.empty(&name);
            lock().empty.insert(name);
        }
        Ok(RepoState::Failed) => drop(lock().incomplete.insert(name)),
        Ok(RepoState::Vanished(cause)) => lock().vanished.push((name, cause)),
        Err(error) => failed(run, name, error, ends),
    }
    None
}

/// Hands a task to the consumer that has made room for it, and keeps how it ended.
async fn take(
    run: &Arc<ProjectRun>,
    consumer: &dyn Consumer,
    (task, room): (RepositoryTask, StageResult<Room>),
    ends: &Mutex<Ends>,
) {
    let name = task.repository().to_owned();
    let arriving: Vec<_> = if run.dry {
        task.diff.writes.iter().map(|write| write.desired.entry.sha).collect()
    } else {
        Vec::new()
    };
    for (path, reason) in task.skipped.iter().chain(&task.diff.skipped) {
        run.stats.skipped(&name, path, *reason);
    }
    let span = tracing::info_span!("repository", repository = name);
    let taken = async {
        run.check_stopped()?;
        let _room = room?;
        consumer.repository(task).await
    };
    match taken.instrument(span).await {
        Ok(end) => {
            let mut ends = ends.lock();
            if !end.settled {
                ends.incomplete.insert(name);
            }
            ends.arriving.extend(arriving);
            if !end.removals.is_empty() {
                ends.ended.push(end);
            }
        }
        Err(error) => failed(run, name, error, ends),
    }
}

/// A repository's error is an entry of the report; any other ends the project.
fn failed(run: &Arc<ProjectRun>, name: String, error: StageError, ends: &Mutex<Ends>) {
    if error.kind.is_item() {
        run.repository_failed(&name, &error);
        ends.lock().incomplete.insert(name);
    } else {
        run.fail(error);
    }
}
