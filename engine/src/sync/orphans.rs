//! Projects that the ledger knows and the file does not: reported, kept, removed with `--prune`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::setup::{Engine, Options};
use super::stats::RunStats;
use crate::model::{ErrorKind, Event, Place, ProjectReport, StageError, StageResult};
use crate::plan::{Action, FilePlan, OrphanFate, ProjectPlan, RepositoryPlan, orphan_fate};
use crate::state::{Damaged, FileKey, IdsOf, Lease, RecordedProject, State};

/// The recorded projects that are not declared.
pub async fn orphans(state: &dyn State, declared: &[String]) -> StageResult<Vec<RecordedProject>> {
    let mut recorded = state.projects().await?;
    recorded.retain(|project| !declared.contains(&project.name));
    Ok(recorded)
}

/// Deals with the projects that are not declared any more; one report for each of which something
/// is in the index.
/// `planned`: those that a saved plan removes; no others are.
pub(crate) async fn orphan_projects(
    engine: &Engine,
    lease: &Lease,
    options: &Options,
    planned: Option<&BTreeSet<String>>,
) -> Vec<ProjectReport> {
    let orphans = match orphans(&*engine.state, &options.declared).await {
        Ok(orphans) => orphans,
        Err(error) => return vec![RunStats::default().report("(orphans)", Some(&error), false)],
    };
    let mut reports = Vec::new();
    for orphan in orphans {
        if planned.is_some_and(|planned| !planned.contains(&orphan.name)) {
            continue;
        }
        let stats = RunStats::default();
        match deal_with(engine, lease, options, &orphan, &stats).await {
            Ok(false) => {}
            Ok(true) => reports.push(stats.report(&orphan.name, None, false)),
            Err(error) => {
                let interrupted = error.kind == ErrorKind::Cancelled;
                reports.push(stats.report(&orphan.name, Some(&error), interrupted));
            }
        }
    }
    reports
}

/// What a run would do about them; those of which nothing is in the index are left out.
pub(crate) async fn preview_orphans(engine: &Engine, options: &Options) -> StageResult<Vec<ProjectPlan>> {
    let mut plans = Vec::new();
    for orphan in orphans(&*engine.state, &options.declared).await? {
        let held = engine.state.ids(&orphan.name, IdsOf::Project).await?;
        if held.is_empty() {
            continue;
        }
        let mut plan = ProjectPlan { orphan: true, ..ProjectPlan::of(&orphan.name) };
        let action = match orphan_fate(&orphan.name, orphan.vectors, options.prune, &options.guard) {
            OrphanFate::Reported(note) => {
                plan.notes.push(note);
                plans.push(plan);
                continue;
            }
            OrphanFate::Withheld(withheld) => {
                plan.withheld = withheld.amount;
                plan.guards.push(withheld);
                Action::Withhold
            }
            OrphanFate::Removed => {
                plan.estimate.vectors_deleted = orphan.vectors;
                Action::Remove
            }
        };
        let files: BTreeSet<FileKey> =
            held.into_iter().filter(|ids| ids.recorded).map(|ids| ids.file).collect();
        for FileKey { repository, path } in files {
            if plan.repositories.last().is_none_or(|last| last.repository != repository) {
                plan.repositories.push(RepositoryPlan::leaving(&repository));
            }
            let reason = "the file does not declare the project".to_owned();
            let file = FilePlan { action, path, from: None, reason };
            plan.repositories.last_mut().expect("just pushed").files.push(file);
        }
        plans.push(plan);
    }
    Ok(plans)
}

/// False: nothing of it is in the index; it is forgotten without a word.
async fn deal_with(
    engine: &Engine,
    lease: &Lease,
    options: &Options,
    orphan: &RecordedProject,
    stats: &RunStats,
) -> StageResult<bool> {
    let state = &engine.state;
    let held = state.ids(&orphan.name, IdsOf::Project).await?;
    if held.is_empty() {
        state.remove_project(lease.fence(), &orphan.name).await?;
        return Ok(false);
    }
    let event = |message: &str| {
        let (project, message) = (orphan.name.clone(), message.to_owned());
        engine.events.emit(Event::Note { project, message });
    };
    match orphan_fate(&orphan.name, orphan.vectors, options.prune, &options.guard) {
        OrphanFate::Removed => {}
        OrphanFate::Reported(note) => {
            event(&note);
            stats.note(note);
            return Ok(true);
        }
        OrphanFate::Withheld(withheld) => {
            event(&withheld.message);
            stats.withheld(withheld);
            return Ok(true);
        }
    }
    // Back in the file after a kill in the middle of this, it is written again.
    state.mark_damaged(lease.fence(), &orphan.name, Damaged::All).await?;
    let mut out_of_reach = false;
    let mut by_place: BTreeMap<Arc<Place>, Vec<String>> = BTreeMap::new();
    for held in held {
        by_place.entry(held.place).or_default().extend(held.ids);
    }
    for (place, ids) in by_place {
        let Some(store) = engine.store_of(&place).await else {
            out_of_reach = true;
            stats.note(format!(
                "orphan place {place}: no stage of the file reaches it any more; {} vectors of `{}` are left there. \
                 To clean it, put a stage back that reaches it (kind `{}`) and run again",
                ids.len(),
                orphan.name,
                place.kind,
            ));
            continue;
        };
        for batch in ids.chunks(store.limits().ids_per_delete.max(1)) {
            if engine.cancel.is_cancelled() {
                return Err(StageError::cancelled("engine"));
            }
            lease.while_held(store.delete(&place.namespace, batch)).await?;
            stats.count(|counts| counts.vectors_deleted += batch.len() as u64);
        }
    }
    if !out_of_reach {
        let files = state.remove_project(lease.fence(), &orphan.name).await?;
        stats.count(|counts| counts.files_removed += files);
        stats.note(format!("project `{}` was removed", orphan.name));
    }
    Ok(true)
}
