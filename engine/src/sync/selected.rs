//! What a run finds out about the repositories that its project selects, so that each of them has a row
//! in the status, whatever became of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::project_run::ProjectRun;
use super::setup::selection_fingerprint;
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
    let selection = selection_fingerprint(&run.project.selection);
    run.state.record_listing(run.fence()?, run.name(), names, selection.as_str()).await
}

/// Records what was found out. `complete`: the run came to its end.
pub(crate) async fn record_findings(run: &Arc<ProjectRun>, complete: bool) -> StageResult<()> {
    let found = run.findings.take();
    run.state.record_findings(run.fence()?, run.name(), found, complete).await
}
