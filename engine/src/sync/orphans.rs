//! Projects that the ledger knows and the file does not: reported, kept, removed with `--prune`.

use std::collections::{BTreeMap, BTreeSet};

use super::setup::{Engine, Options};
use super::stats::RunStats;
use crate::model::{ErrorKind, Event, ProjectReport, StageError, StageResult};
use crate::plan::{Action, FilePlan, OrphanFate, ProjectPlan, RepositoryPlan, orphan_fate};
use crate::state::{Leftover, OrphanProject};

/// Deals with the projects that are not declared any more; one report for each of which something
/// is in the index.
/// `planned`: those that a saved plan removes; no others are.
pub(crate) async fn orphan_projects(
    engine: &Engine,
    options: &Options,
    planned: Option<&BTreeSet<String>>,
) -> Vec<ProjectReport> {
    let declared = options.declared.clone();
    let orphans = match engine.ledger.call(move |ledger| ledger.orphan_projects(&declared)).await {
        Ok(orphans) => orphans,
        Err(error) => return vec![RunStats::default().report("(orphans)", Some(&error), false)],
    };
    let mut reports = Vec::new();
    for orphan in orphans {
        if planned.is_some_and(|planned| !planned.contains(&orphan.name)) {
            continue;
        }
        let stats = RunStats::default();
        match deal_with(engine, options, &orphan, &stats).await {
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
    let declared = options.declared.clone();
    let orphans = engine.ledger.call(move |ledger| ledger.orphan_projects(&declared)).await?;
    let mut plans = Vec::new();
    for orphan in orphans {
        let (id, name) = (orphan.id, orphan.name.clone());
        if engine.ledger.call(move |ledger| ledger.ids_of_project((id, &name))).await?.is_empty() {
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
        let files = engine.ledger.call(move |ledger| ledger.paths_of_project(id)).await?;
        for (repository, path) in files {
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
    options: &Options,
    orphan: &OrphanProject,
    stats: &RunStats,
) -> StageResult<bool> {
    let (id, name) = (orphan.id, orphan.name.clone());
    let ids = engine.ledger.call(move |ledger| ledger.ids_of_project((id, &name))).await?;
    if ids.is_empty() {
        forget(engine, orphan).await?;
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
    engine.ledger.call(move |ledger| ledger.mark_project_damaged(id)).await?;
    let mut out_of_reach = false;
    let mut by_place: BTreeMap<i64, Vec<Leftover>> = BTreeMap::new();
    for id in ids {
        by_place.entry(id.place).or_default().push(id);
    }
    for (number, ids) in by_place {
        let place = engine.ledger.call(move |ledger| ledger.place(number)).await?;
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
            let names: Vec<String> = batch.iter().map(|id| id.id.clone()).collect();
            store.delete(&place.namespace, &names).await?;
            stats.count(|counts| counts.vectors_deleted += names.len() as u64);
        }
    }
    if !out_of_reach {
        let files = forget(engine, orphan).await?;
        stats.count(|counts| counts.files_removed += files);
        stats.note(format!("project `{}` was removed", orphan.name));
    }
    Ok(true)
}

async fn forget(engine: &Engine, orphan: &OrphanProject) -> StageResult<u64> {
    let (id, name) = (orphan.id, orphan.name.clone());
    engine.ledger.call(move |ledger| ledger.remove_project((id, &name))).await
}
