//! Projects that the ledger knows and the file does not: reported, kept, removed with `--prune`.

use std::collections::BTreeMap;

use super::setup::{Engine, Options, Prune};
use super::stats::RunStats;
use crate::ledger::{Leftover, OrphanProject};
use crate::model::{ErrorKind, Event, GuardKind, ProjectReport, StageError, StageResult, Withheld};

/// Deals with the projects that are not declared any more; one report for each of which something
/// is in the index.
pub(crate) async fn orphan_projects(engine: &Engine, options: &Options) -> Vec<ProjectReport> {
    let declared = options.declared.clone();
    let orphans = match engine.ledger.call(move |ledger| ledger.orphan_projects(&declared)).await {
        Ok(orphans) => orphans,
        Err(error) => return vec![RunStats::default().report("(orphans)", Some(&error), false)],
    };
    let mut reports = Vec::new();
    for orphan in orphans {
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
    // Asked for by name, `--prune` counts nothing; standing in the file, it is under the guard: a
    // whole project is always more than its share.
    let withheld =
        options.prune == Prune::Standing && options.guard.withholds(orphan.vectors, orphan.vectors);
    if options.prune == Prune::No || withheld {
        let why = if withheld { "; the deletion guard keeps them (`--allow-deletes`)" } else { "" };
        let message = format!(
            "project `{}` is not in the file any more: its {} vectors stay searchable{why}; \
             remove them with `reposync apply --prune`",
            orphan.name, orphan.vectors
        );
        engine.events.emit(Event::Note { project: orphan.name.clone(), message: message.clone() });
        if withheld {
            stats.withheld(Withheld { guard: GuardKind::Deletion, amount: orphan.vectors, message });
        } else {
            stats.note(message);
        }
        return Ok(true);
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
