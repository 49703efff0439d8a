//! Carries out what a plan says: writes files, removes files, records each repository's end.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::Utc;

use super::decide::{Removals, RepositoryEnd};
use super::file::{FailedFiles, Files};
use super::inspect::finish;
use super::project::{Consumer, Room, Rooms};
use super::project_run::ProjectRun;
use super::remove::remove_files;
use super::setup::selection_fingerprint;
use super::writer::Writer;
use crate::model::{Event, Phase, StageError, StageResult};
use crate::plan::{GuardDecision, RepositoryTask};
use crate::state::ProjectEnd;

/// Carries out tasks.
pub(crate) struct Execute {
    run: Arc<ProjectRun>,
    writer: Writer,
    rooms: Rooms,
}

impl Execute {
    pub(crate) fn new(run: &Arc<ProjectRun>, writer: Writer) -> Self {
        Self { run: Arc::clone(run), writer, rooms: Rooms::default() }
    }
}

#[async_trait]
impl Consumer for Execute {
    async fn room(&self, task: &RepositoryTask) -> StageResult<Room> {
        Ok(self.rooms.take(task).await)
    }

    async fn repository(&self, task: RepositoryTask) -> StageResult<RepositoryEnd> {
        let end = write(&self.run, &self.writer, task).await?;
        if end.removals.is_empty() {
            record_end(&self.run, &end, end.settled).await?;
        }
        Ok(end)
    }

    async fn removals(&self, removals: Removals) -> StageResult<()> {
        let (run, Removals { guard, ended, dissolved }) = (&self.run, removals);
        record_recipes(run).await?;
        let GuardDecision { removed, withheld, .. } = guard;
        remove_files(run, removed).await?;
        let kept: BTreeSet<&str> = withheld.iter().map(|file| file.repository.as_str()).collect();
        for end in &ended {
            let settled = end.settled && !kept.contains(end.entry.repo.name.as_str());
            record_end(run, end, settled).await?;
        }
        let mut postponed = false;
        for name in dissolved {
            if kept.contains(name.as_str()) {
                postponed = true;
            } else {
                run.state.remove_repository(run.fence()?, run.name(), &name).await?;
            }
        }
        if !postponed {
            let selection = Some(selection_fingerprint(&run.project.selection).to_string());
            let end = ProjectEnd { selection, ..ProjectEnd::default() };
            run.state.finish_project(run.fence()?, run.name(), &run.place, end, Utc::now()).await?;
        }
        Ok(())
    }
}

/// Records that a repository's sync has ended. Where files were withheld, the commit indexed before stays.
async fn record_end(run: &Arc<ProjectRun>, end: &RepositoryEnd, settled: bool) -> StageResult<()> {
    if end.withheld {
        return Ok(());
    }
    finish(run, &end.entry, end.commit, settled).await
}

/// Keeps what each recipe is made of, for the reasons of later plans.
async fn record_recipes(run: &Arc<ProjectRun>) -> StageResult<()> {
    let recipes: Vec<_> = run
        .recipes
        .all()
        .iter()
        .map(|recipe| (recipe.fingerprint.clone(), serde_json::to_string(&recipe.parts).unwrap_or_default()))
        .collect();
    run.state.record_recipes(run.fence()?, recipes).await
}

/// Fetches and writes a repository's files.
async fn write(run: &Arc<ProjectRun>, writer: &Writer, task: RepositoryTask) -> StageResult<RepositoryEnd> {
    let mut removals = task.removals();
    let RepositoryTask { entry, commit, diff, .. } = task;
    let repository = entry.repo.name.as_str();
    run.stats.count(|counts| {
        counts.files += diff.unchanged + diff.writes.len() as u64 + diff.skipped.len() as u64;
        counts.files_unchanged += diff.unchanged;
    });
    let changes = diff.writes.len() as u64;
    let announced = (changes > 0).then(|| run.announce());
    run.emit(Event::RepositoryPlanned {
        project: run.name().to_owned(),
        repository: repository.to_owned(),
        changes,
        removals: diff.removals.len() as u64,
    });
    for phase in [Phase::Fetch, Phase::Chunk, Phase::Commit] {
        run.emit(Event::Expected { phase, n: changes });
    }
    if changes > 0 || !removals.is_empty() {
        // If the process is killed from here on and the edit is reverted, the next run must undo what was
        // written although head and basis look unchanged.
        run.state.begin_repository(run.fence()?, run.name(), repository).await?;
    }
    let mut failed = FailedFiles::default();
    if !diff.writes.is_empty() {
        let wanted = diff.writes.iter().map(|write| write.desired.entry.clone()).collect();
        let mut sink = Files::new(run, writer, &entry.repo, commit, diff.writes);
        let fetched = {
            let _fetch = tokio::select! {
                room = run.fetches.take(1) => room,
                () = run.stop.cancelled() => return Err(StageError::cancelled("engine")),
            };
            run.project.source.fetch(&entry.repo, commit, wanted, &mut sink).await
        };
        let fetched =
            fetched.and_then(|()| if run.stop.is_cancelled() { Ok(()) } else { sink.check_complete() });
        drop(announced);
        // Files under way are finished whatever became of the rest.
        let ended = sink.finish().await;
        fetched?;
        failed = ended?;
    }
    removals.retain(|file| !failed.keep.contains(&file.path));
    let withheld = failed.withheld > 0;
    Ok(RepositoryEnd { settled: failed.count == 0 && !withheld, withheld, entry, commit, removals })
}
