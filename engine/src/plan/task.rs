//! The unit of work: the changes to one repository's files at one commit.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::decide::Removal;
use super::diff::{Recorded, RecordedState, RepoDiff};
use crate::model::{Fingerprint, GitSha, RepoEntry, SkipReason};

/// The changes to one repository's files, for a commit to index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryTask {
    /// The repository as it was listed.
    pub entry: RepoEntry,
    /// The commit to index.
    pub commit: GitSha,
    /// The commit indexed before.
    pub previous: Option<GitSha>,
    /// What the task rests on, of a plan: see [`basis`].
    pub basis: Option<Fingerprint>,
    /// Files to write and to remove.
    pub diff: RepoDiff,
    /// Files that are not indexed, for their name, mode, size or attributes.
    #[serde(skip)]
    pub skipped: Vec<(String, SkipReason)>,
}

impl RepositoryTask {
    /// The repository's name.
    pub fn repository(&self) -> &str {
        &self.entry.repo.name
    }

    /// The files that are to leave the index, by path.
    pub fn removals(&self) -> Vec<Removal> {
        let moved: BTreeSet<&str> =
            self.diff.writes.iter().filter_map(|write| write.moved_from.as_deref()).collect();
        let skipped: BTreeMap<&str, SkipReason> =
            self.skipped.iter().map(|(path, reason)| (path.as_str(), *reason)).collect();
        let removals = self.diff.removals.iter().cloned();
        removals
            .map(|file| {
                let reason = skipped.get(file.path.as_str()).map_or("deleted", |reason| reason.label());
                let moved = moved.contains(file.path.as_str());
                Removal { moved, ..Removal::of(self.repository(), file, true, reason) }
            })
            .collect()
    }
}

/// What a task rests on: how the project makes its index (`project`), the commit that is indexed, and every
/// recorded file. A task is executed only where this has not changed.
pub fn basis(project: &Fingerprint, indexed: Option<GitSha>, recorded: &[Recorded]) -> Fingerprint {
    let mut files: Vec<String> = recorded.iter().map(recorded_part).collect();
    files.sort_unstable();
    let indexed = indexed.map(|commit| commit.to_string()).unwrap_or_default();
    Fingerprint::of([project.to_string(), indexed].into_iter().chain(files))
}

fn recorded_part(file: &Recorded) -> String {
    let Recorded { path, blob_sha, recipe, in_place, vectors, state } = file;
    let blob = blob_sha.map(|blob| blob.to_string()).unwrap_or_default();
    let recipe = recipe.as_ref().map(Fingerprint::as_str).unwrap_or_default();
    let state = match state {
        RecordedState::Settled => "settled",
        RecordedState::Skipped(reason) => reason.label(),
        RecordedState::Failed => "failed",
        RecordedState::Unfinished => "unfinished",
        RecordedState::Adopted => "adopted",
        RecordedState::Damaged => "damaged",
    };
    format!("{path}\n{blob} {recipe} {in_place} {vectors} {state}")
}
