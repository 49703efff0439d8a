//! What a run finds out about the repositories that its project selects, so that each of them has a row
//! in the status, whatever became of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::project_run::ProjectRun;
use crate::model::StageResult;
use crate::source::Listing;

/// Records which repositories a listing selects.
pub(crate) async fn record_listing(run: &Arc<ProjectRun>, listing: &Listing) -> StageResult<()> {
    if run.dry {
        return Ok(());
    }
    let listed = listing.repositories.iter().map(|entry| &entry.repo.name);
    let missing = listing.missing.iter().map(|repo| &repo.name);
    let refused = listing.refused.iter().map(|(repo, _)| &repo.name);
    let names: BTreeSet<String> = listed.chain(missing).chain(refused).cloned().collect();
    run.ledger(move |ledger, (id, _)| ledger.record_selected(id, &names)).await
}

/// Records what was found out. `complete`: the run came to its end.
pub(crate) async fn record_findings(run: &Arc<ProjectRun>, complete: bool) -> StageResult<()> {
    let found = run.findings.take();
    run.ledger(move |ledger, (id, _)| ledger.record_findings(id, &found, complete)).await
}
