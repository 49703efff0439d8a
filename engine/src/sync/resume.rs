//! A task of a saved plan: whether it may still be carried out.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::inspect::{RepoState, recorded_files};
use super::project_run::ProjectRun;
use super::setup::{Project, item_or_fatal};
use super::survey::Listed;
use crate::model::{GitSha, RepoRef, StageError, StageResult};
use crate::plan::{RepositoryTask, basis};
use crate::source::Head;
use crate::state::RepositoryRow;

/// What to do about a task that may not be carried out.
pub(super) const PLAN_AGAIN: &str = "make a new plan with `reposync plan --out FILE`";

/// A saved task, with its repository as it is listed now.
pub(crate) struct Resumable {
    pub(crate) task: RepositoryTask,
    pub(crate) listed: Option<Listed>,
    /// When the plan was made (UTC).
    pub(crate) planned_at: DateTime<Utc>,
}

/// Checks that the task's commit is the head, or an ancestor of it, and that the ledger is as it was when
/// the plan was made. A commit that was taken out of the history never comes back by a plan that was made
/// before. Otherwise the repository fails, and others go on.
pub(crate) async fn resume(run: &Arc<ProjectRun>, saved: Resumable) -> StageResult<RepoState> {
    let Resumable { mut task, listed, planned_at } = saved;
    let name = task.repository().to_owned();
    let refused = |message: String| {
        let error = StageError::refused("plan", message).hint(PLAN_AGAIN);
        run.repository_failed(&name, &error);
        Ok(RepoState::Failed)
    };
    let Some(Listed { entry, known }) = listed else {
        return refused("it is not in the listing any more; the plan does not cover that".to_owned());
    };
    if entry.repo.key != task.entry.repo.key {
        return refused("another repository has its name since the plan was made".to_owned());
    }
    if known.as_ref().is_some_and(|row| is_done(run, row, &task, planned_at)) {
        return Ok(RepoState::Unchanged);
    }
    let indexed = known.as_ref().filter(|_| !run.options.full).and_then(|row| row.last_commit);
    let recorded = recorded_files(run, &name).await?;
    if task.basis.as_ref() != Some(&basis(&run.basis.fingerprint(), indexed, &recorded)) {
        return refused("its index has changed since the plan was made".to_owned());
    }
    let head = item_or_fatal(run.project.source.head(&entry, &run.project.branch, None).await)?;
    let head = match head {
        Ok(Head::Commit(head)) => head,
        Ok(Head::Empty | Head::Missing | Head::NoBranch) => {
            return refused("its branch is gone since the plan was made".to_owned());
        }
        Err(error) => {
            run.repository_failed(&name, &error);
            return Ok(RepoState::Failed);
        }
    };
    match item_or_fatal(reaches(&run.project, &entry.repo, task.commit, head).await)? {
        Ok(true) => {}
        Ok(false) => {
            let commit = task.commit;
            return refused(format!(
                "its history was rewritten: the plan's commit {commit} is not part of it"
            ));
        }
        Err(error) => {
            run.repository_failed(&name, &error);
            return Ok(RepoState::Failed);
        }
    }
    if head != task.commit {
        run.note(format!(
            "repository `{name}` has moved on to {head} since the plan was made; the next run indexes that"
        ));
    }
    run.state.saw_head(run.fence()?, run.name(), &entry, head, Utc::now()).await?;
    task.entry = entry;
    Ok(RepoState::Changed(Box::new(task)))
}

/// Whether an earlier run has carried out the task. With `--full`, that is a run since the plan was made.
fn is_done(run: &ProjectRun, row: &RepositoryRow, task: &RepositoryTask, planned_at: DateTime<Utc>) -> bool {
    let synced: Option<DateTime<Utc>> = row.last_synced_at.as_ref().and_then(|at| at.parse().ok());
    let since_the_plan = synced.is_some_and(|at| at > planned_at);
    row.settled
        && row.last_commit == Some(task.commit)
        && row.basis.as_deref() == Some(run.recorded_basis.as_str())
        && (!run.options.full || since_the_plan)
}

/// True where the history of `head` holds `commit`.
pub(crate) async fn reaches(
    project: &Project,
    repo: &RepoRef,
    commit: GitSha,
    head: GitSha,
) -> StageResult<bool> {
    Ok(commit == head || project.source.commits_between(repo, commit, head).await?.is_some())
}
