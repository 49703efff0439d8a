//! What a run finds out about the repositories that its project selects, so that each of them has a row
//! in the status, whatever became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::project_run::ProjectRun;
use crate::ledger::SelectedRepository;
use crate::model::{StageError, StageResult};
use crate::source::Listing;

/// The findings of one run, by repository.
#[derive(Debug, Default)]
pub(crate) struct Findings(Mutex<BTreeMap<String, SelectedRepository>>);

impl Findings {
    /// A repository could not be indexed.
    pub(crate) fn failed(&self, repository: &str, error: &StageError) {
        self.put(repository, SelectedRepository { error: Some(error.one_line()), empty: false });
    }

    /// A repository has no commits.
    pub(crate) fn empty(&self, repository: &str) {
        self.put(repository, SelectedRepository { error: None, empty: true });
    }

    fn put(&self, repository: &str, found: SelectedRepository) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(repository.to_owned(), found);
    }
}

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
    let found = std::mem::take(&mut *run.findings.0.lock().unwrap_or_else(PoisonError::into_inner));
    run.ledger(move |ledger, (id, _)| ledger.record_findings(id, &found, complete)).await
}
