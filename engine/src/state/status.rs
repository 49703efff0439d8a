//! The status of a project from what is recorded of it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::repository::{RepositoryRow, SelectedRepository};
use crate::model::{Place, ProjectStatus, RepositoryStatus, Target};

/// What is recorded of a project.
#[derive(Debug, Default)]
pub(super) struct ProjectFacts {
    /// The repositories of its last listing; empty before the first one.
    pub(super) selected: BTreeMap<String, SelectedRepository>,
    /// Those of which anything was ever recorded.
    pub(super) repositories: Vec<RepositoryRow>,
    /// The files of each repository.
    pub(super) counts: BTreeMap<String, Counts>,
    pub(super) open_intents: u64,
    /// Where its vectors went last.
    pub(super) place: Option<Place>,
    pub(super) targets: Vec<Target>,
}

/// Files of a repository.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    /// Those with vectors.
    pub(super) files: u64,
    pub(super) vectors: u64,
    pub(super) failed: u64,
}

/// The status of a project that ran. `named`: the repositories that the file names.
pub(super) fn project_status(name: &str, named: &[String], facts: ProjectFacts) -> ProjectStatus {
    let mut status = ProjectStatus { open_intents: facts.open_intents, ..never_ran(name, &[]) };
    let mut rows: BTreeMap<String, RepositoryStatus> = BTreeMap::new();
    let mut enter = |name: &String| {
        rows.insert(name.clone(), RepositoryStatus::unknown(name.clone()));
    };
    // Before the first listing there are only the names of the file.
    if facts.selected.is_empty() {
        named.iter().for_each(&mut enter);
    } else {
        facts.selected.keys().for_each(enter);
    }
    for row in facts.repositories {
        let Counts { files, vectors, failed } = facts.counts.get(&row.name).copied().unwrap_or_default();
        status.files += files;
        status.vectors += vectors;
        status.failed_files += failed;
        let repository = RepositoryStatus {
            commits_behind: row
                .last_commit
                .and_then(|indexed| if row.head == Some(indexed) { Some(0) } else { row.commits_behind }),
            indexed: row.last_commit,
            head: row.head,
            synced_at: row.last_synced_at.as_deref().and_then(parse_time),
            files,
            vectors,
            failed_files: failed,
            orphan_since: row.orphan_since,
            ..RepositoryStatus::unknown(row.name.clone())
        };
        rows.insert(row.name, repository);
    }
    for (name, found) in facts.selected {
        let Some(repository) = rows.get_mut(&name) else { continue };
        repository.error = found.error;
        if found.empty && repository.indexed.is_none() {
            repository.empty = true;
            repository.commits_behind = Some(0);
        }
    }
    status.repositories = sorted(rows);
    status.place = facts.place.map(|place| place.to_string()).unwrap_or_default();
    status.targets = facts.targets;
    status
}

/// The status of a project that never ran.
pub(super) fn never_ran(name: &str, named: &[String]) -> ProjectStatus {
    let rows = named.iter().map(|name| (name.clone(), RepositoryStatus::unknown(name.clone()))).collect();
    ProjectStatus { project: name.to_owned(), repositories: sorted(rows), ..ProjectStatus::default() }
}

/// What a user does about vectors that were left in a place of this kind.
pub(super) fn remedy(kind: &str) -> String {
    format!("put a stage of kind `{kind}` back that reaches it, and run `reposync apply`")
}

/// A timestamp as RFC 3339.
pub(super) fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc))
}

/// What needs attention first, then by name.
fn sorted(repositories: BTreeMap<String, RepositoryStatus>) -> Vec<RepositoryStatus> {
    let mut sorted: Vec<_> = repositories.into_values().map(RepositoryStatus::judged).collect();
    sorted.sort_by_key(|repository| repository.state);
    sorted
}
