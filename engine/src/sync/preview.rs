//! Adds up what a run would do: the bill, the files with their reasons, and the plan to be saved.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex as SyncMutex;
use tokio::sync::Mutex;

use super::bill::{Bill, Sent};
use super::count::{Count, LeftOut};
use super::decide::{Removals, RepositoryEnd};
use super::estimate::{Samples, add_samples, estimate};
use super::project::{Consumer, Room, Rooms};
use super::project_run::ProjectRun;
use super::remove::{preview_deletions, reached};
use super::saved::{PlanWriter, ProjectEnd};
use crate::model::{Fingerprint, Place, StageResult};
use crate::plan::{
    Action, FilePlan, ProjectPlan, Reason, RecipeParts, RecordedState, Removal, RepositoryPlan,
    RepositoryTask, Write,
};

/// Secrets of a project that a plan lists; the rest is counted.
const SECRETS_SHOWN: usize = 100;

/// Adds a project's tasks up.
pub(crate) struct Preview<'a> {
    run: Arc<ProjectRun>,
    /// True if every content is read.
    exact: AtomicBool,
    /// What the spending guard counted, by repository.
    counts: SyncMutex<HashMap<String, Count>>,
    sums: Mutex<Sums<'a>>,
    rooms: Rooms,
}

struct Sums<'a> {
    plan: ProjectPlan,
    bill: Bill<'a>,
    samples: Samples,
    out: Option<&'a mut PlanWriter>,
}

impl<'a> Preview<'a> {
    /// `sent`: texts that the projects before this one send. `out`: where tasks are saved.
    pub(crate) fn new(
        run: &Arc<ProjectRun>,
        exact: bool,
        sent: &'a mut Sent,
        out: Option<&'a mut PlanWriter>,
    ) -> Self {
        let sums = Sums {
            plan: ProjectPlan::of(run.name()),
            bill: Bill::new(run, sent),
            samples: Samples::default(),
            out,
        };
        Self {
            run: Arc::clone(run),
            exact: exact.into(),
            counts: SyncMutex::default(),
            sums: Mutex::new(sums),
            rooms: Rooms::default(),
        }
    }

    /// True if every content is read: the bill is counted, not estimated.
    pub(crate) fn is_exact(&self) -> bool {
        self.exact.load(Ordering::Relaxed)
    }

    /// The plan as far as it came.
    pub(crate) fn into_plan(self) -> ProjectPlan {
        let Sums { mut plan, mut bill, .. } = self.sums.into_inner();
        let mut secrets = bill.take_secrets();
        secrets.sort_by(|a, b| (&a.repository, &a.path, a.line).cmp(&(&b.repository, &b.path, b.line)));
        plan.secrets_found = secrets.len() as u64;
        secrets.truncate(SECRETS_SHOWN);
        plan.secrets = secrets;
        plan.estimate = bill.total(&self.run);
        plan.repositories.retain(|repository| !repository.files.is_empty());
        plan.repositories.sort_by(|a, b| a.repository.cmp(&b.repository));
        plan
    }
}

#[async_trait]
impl Consumer for Preview<'_> {
    fn counted(&self, counts: Vec<(String, Count)>) {
        if !counts.is_empty() {
            self.exact.store(true, Ordering::Relaxed);
        }
        self.counts.lock().extend(counts);
    }

    async fn room(&self, task: &RepositoryTask) -> StageResult<Room> {
        Ok(self.rooms.take(task).await)
    }

    async fn repository(&self, task: RepositoryTask) -> StageResult<RepositoryEnd> {
        let mut shown = repository_plan(&self.run, &task).await?;
        let mut sums = self.sums.lock().await;
        let Sums { bill, samples, .. } = &mut *sums;
        let count = self.counts.lock().remove(task.repository());
        let left_out = estimate(&self.run, &task, count, self.is_exact(), bill, samples).await?;
        leave_out(&mut shown, &left_out);
        sums.plan.repositories.push(shown);
        if let Some(out) = &mut sums.out {
            out.task(self.run.name(), &task)?;
        }
        let removals = task.removals();
        Ok(RepositoryEnd { entry: task.entry, commit: task.commit, settled: true, withheld: false, removals })
    }

    async fn removals(&self, removals: Removals) -> StageResult<()> {
        let mut sums = self.sums.lock().await;
        let Removals { guard, dissolved, .. } = removals;
        let samples = std::mem::take(&mut sums.samples);
        add_samples(&self.run, samples, &mut sums.bill).await?;
        let (removed, leftovers) = preview_deletions(&self.run, &guard.removed).await?;
        let places = removed.iter().chain(&leftovers).map(|one| Arc::clone(&one.place));
        let places: BTreeSet<Arc<Place>> = places.chain(sums.bill.places()).collect();
        let reaches = reached(&self.run, places).await?;
        sums.bill.deletions(&self.run.place, removed, leftovers, &reaches);
        let plan = &mut sums.plan;
        list(plan, &guard.removed, Action::Remove);
        list(plan, &guard.withheld, Action::Withhold);
        let end = ProjectEnd {
            dissolved: dissolved.into_iter().collect(),
            withheld: guard.withheld.into_iter().map(|file| (file.repository, file.path)).collect(),
            embedding_withheld: self.run.embedding_withheld(),
        };
        match &mut sums.out {
            Some(out) => out.end(self.run.name(), &end),
            None => Ok(()),
        }
    }
}

/// Enters removals under their repositories. A file without vectors was never in the index, and one whose
/// content moves is shown where it arrives.
fn list(plan: &mut ProjectPlan, files: &[Removal], action: Action) {
    for file in files.iter().filter(|file| file.vectors > 0 && !file.moved) {
        let at = plan.repositories.iter().position(|repository| repository.repository == file.repository);
        let at = at.unwrap_or_else(|| {
            plan.repositories.push(RepositoryPlan::leaving(&file.repository));
            plan.repositories.len() - 1
        });
        let reason = file.reason.to_owned();
        plan.repositories[at].files.push(FilePlan { action, path: file.path.clone(), from: None, reason });
    }
    for repository in &mut plan.repositories {
        repository.files.sort_by(|a, b| a.path.cmp(&b.path));
    }
}

/// A file that only its content keeps out does not enter the index, and leaves it where it was indexed.
fn leave_out(repository: &mut RepositoryPlan, left_out: &LeftOut) {
    repository.files.retain_mut(|file| {
        let Some(reason) = left_out.get(&file.path) else { return true };
        let indexed = file.action == Action::Change;
        if indexed {
            (file.action, file.reason) = (Action::Remove, reason.label().to_owned());
        }
        indexed
    });
}

async fn repository_plan(run: &Arc<ProjectRun>, task: &RepositoryTask) -> StageResult<RepositoryPlan> {
    let before = task.diff.writes.iter().filter_map(|write| match &write.reason {
        Reason::Recipe(old) => Some(old.clone()),
        _ => None,
    });
    let before: HashSet<Fingerprint> = before.collect();
    let before = run.state.recipes(before.into_iter().collect()).await?;
    let mut files = Vec::with_capacity(task.diff.writes.len());
    for write in &task.diff.writes {
        let action = match (write.is_new, &write.moved_from) {
            (true, Some(_)) => Action::Move,
            (true, None) => Action::Add,
            (false, _) => Action::Change,
        };
        files.push(FilePlan {
            action,
            path: write.desired.entry.path.clone(),
            from: write.moved_from.clone(),
            reason: reason(run, write, &before),
        });
    }
    Ok(RepositoryPlan {
        repository: task.repository().to_owned(),
        commit: Some(task.commit),
        previous: task.previous,
        files,
        unchanged: task.diff.unchanged,
    })
}

/// The reason to write a file. `before`: what the recipes of the recorded files are made of.
fn reason(run: &ProjectRun, write: &Write, before: &HashMap<Fingerprint, String>) -> String {
    match &write.reason {
        Reason::New if write.moved_from.is_some() => "moved".to_owned(),
        Reason::New => "new".to_owned(),
        Reason::Content => "content".to_owned(),
        Reason::Place => "moves to another place".to_owned(),
        Reason::Full => "--full".to_owned(),
        Reason::State(state) => match state {
            RecordedState::Failed => "failed before",
            RecordedState::Unfinished => "an interrupted write",
            RecordedState::Adopted => "found in the store, to be compared",
            RecordedState::Damaged => "damaged in the store",
            RecordedState::Settled | RecordedState::Skipped(_) => "as recorded",
        }
        .to_owned(),
        Reason::Recipe(old) => {
            let old: Option<RecipeParts> = before.get(old).and_then(|json| serde_json::from_str(json).ok());
            match (old, run.recipes.of(&write.desired.entry.path)) {
                (Some(old), Some(new)) => FilePlan::recipe_reason(&new.parts.difference(&old)),
                _ => "recipe".to_owned(),
            }
        }
    }
}
