//! Reads what the decisions about removals need to know of the ledger; `plan` decides.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::inspect::recorded_files;
use super::project_run::ProjectRun;
use super::survey::{report_empty, report_orphans};
use crate::model::{GitSha, RepoEntry, StageResult};
use crate::plan::{Fate, GuardDecision, Missing, Removal, apply_guard};
use crate::state::FileKey;

/// What the repositories of a project came to, before anything is removed.
#[derive(Default)]
pub(crate) struct Ends {
    /// Those whose files are written and that have files to remove.
    pub(crate) ended: Vec<RepositoryEnd>,
    /// Those that are not there any more, or have no commits where they had files; and which of it.
    pub(crate) vanished: Vec<(String, &'static str)>,
    /// Those that could not be inspected, or had failed files.
    pub(crate) incomplete: BTreeSet<String>,
    /// Those without commits, of which the ledger knows nothing under this name.
    pub(crate) empty: BTreeSet<String>,
    /// Blobs that a plan would index; a run has recorded its own.
    pub(crate) arriving: BTreeSet<GitSha>,
    /// Files that the deletion guard kept in a saved plan, by repository and path.
    pub(crate) withheld: BTreeSet<(String, String)>,
}

/// A repository whose files are written, or recorded as failed.
pub(crate) struct RepositoryEnd {
    pub(crate) entry: RepoEntry,
    pub(crate) commit: GitSha,
    /// No file failed, and none was withheld.
    pub(crate) settled: bool,
    /// The spending guard withheld files of it: the commit indexed before stays recorded.
    pub(crate) withheld: bool,
    /// Files that are to leave the index.
    pub(crate) removals: Vec<Removal>,
}

/// What leaves the index, and what waits for it: the last work of a project.
pub(crate) struct Removals {
    pub(crate) guard: GuardDecision,
    /// Repositories whose end is recorded once their files are removed.
    pub(crate) ended: Vec<RepositoryEnd>,
    /// Repositories that are forgotten once their files are removed.
    pub(crate) dissolved: Vec<String>,
}

/// Decides what leaves the index, and reports repositories that are missing.
pub(crate) async fn decide_removals(
    run: &Arc<ProjectRun>,
    ends: Ends,
    missing: Vec<Missing>,
    vectors_before: u64,
) -> StageResult<Removals> {
    let Ends { ended, vanished, incomplete, empty: mut absent, arriving, withheld } = ends;
    report_empty(run, &absent);
    absent.extend(vanished.iter().map(|(name, _)| name.clone()));
    let vanished = vanished.into_iter().map(|(name, cause)| Missing::vanished(name, cause));
    let mut removals: Vec<Removal> = ended.iter().flat_map(|end| end.removals.iter().cloned()).collect();
    let (mut dissolved, mut orphans) = (Vec::new(), Vec::new());
    for missing in missing.into_iter().chain(vanished) {
        let name = missing.name.as_str();
        match missing.fate(&absent, &incomplete, run.options.prune) {
            Fate::Wait => {}
            Fate::Orphan => orphans.push((missing.name, missing.cause)),
            Fate::Dissolve { counted, renamed_to } => {
                if let Some(to) = renamed_to {
                    run.note(format!("repository `{name}` is now `{to}`"));
                }
                let files = recorded_files(run, name).await?.into_iter();
                removals.extend(
                    files.map(|file| Removal::of(name, file, counted, "repository leaves the index")),
                );
                dissolved.push(missing.name);
            }
        }
    }
    report_orphans(run, orphans).await?;
    let removals = with_successors(run, removals, arriving).await?;
    let guard = apply_guard(removals, vectors_before, &run.options.guard).keeping(&withheld);
    if let Some(report) = &guard.report {
        run.withheld(report.clone());
    }
    Ok(Removals { guard, ended, dissolved })
}

/// Adds whether the content of each file stays in the index under another path.
async fn with_successors(
    run: &Arc<ProjectRun>,
    removals: Vec<Removal>,
    arriving: BTreeSet<GitSha>,
) -> StageResult<Vec<(Removal, bool)>> {
    let key = |file: &Removal| FileKey::new(&file.repository, &file.path);
    let leaving: BTreeSet<FileKey> = removals.iter().map(key).collect();
    let counted = removals.iter().filter(|file| file.counted).filter_map(|file| file.blob_sha);
    let asked: BTreeSet<GitSha> = counted.filter(|blob| !arriving.contains(blob)).collect();
    let mut staying = arriving;
    if !asked.is_empty() {
        let files = run.state.files_of_blobs(run.name(), asked.into_iter().collect()).await?;
        staying.extend(files.into_iter().filter(|one| !leaving.contains(&one.file)).map(|one| one.blob));
    }
    Ok(removals
        .into_iter()
        .map(|file| {
            let has_successor = file.blob_sha.is_some_and(|blob| staying.contains(&blob));
            (file, has_successor)
        })
        .collect())
}
