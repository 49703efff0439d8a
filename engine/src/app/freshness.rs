//! How current the index of the repositories in an answer is.

use std::collections::{BTreeMap, BTreeSet};

use super::App;
use crate::model::Freshness;
use crate::state::{RepositoryRow, State};

impl App {
    /// How current the index of each of these repositories, given with its project, is, as far as the state knows.
    pub async fn freshness(&self, of: &BTreeSet<(String, String)>) -> Vec<Freshness> {
        freshness(&*self.state, of).await
    }
}

/// How current the index of each of these repositories is. A state that cannot be read is no error: what it would
/// say is unknown then.
async fn freshness(state: &dyn State, of: &BTreeSet<(String, String)>) -> Vec<Freshness> {
    let mut rows: BTreeMap<&str, Result<Vec<RepositoryRow>, String>> = BTreeMap::new();
    let mut all = Vec::new();
    for (project, repository) in of {
        if !rows.contains_key(project.as_str()) {
            let read = state.repositories(project).await.map_err(|error| error.one_line());
            rows.insert(project, read);
        }
        all.push(match &rows[project.as_str()] {
            Ok(rows) => match rows.iter().find(|row| row.name == *repository) {
                Some(row) => of_row(project, row),
                None => {
                    Freshness::unknown(project, repository, "the ledger has no record of this repository")
                }
            },
            Err(why) => Freshness::unknown(project, repository, &format!("the ledger cannot be read: {why}")),
        });
    }
    all
}

fn of_row(project: &str, row: &RepositoryRow) -> Freshness {
    let unknown = match (row.last_commit, row.head, row.commits_behind) {
        (None, ..) => Some("its first run has not ended"),
        _ if row.orphan_since.is_some() => Some("the source does not have this repository any more"),
        (Some(_), None, _) => Some("its head was never read"),
        (Some(indexed), Some(head), None) if indexed != head => {
            Some("not counted yet, or the branch was rewritten")
        }
        _ => None,
    };
    let same = row.last_commit.is_some() && row.last_commit == row.head;
    Freshness {
        project: project.to_owned(),
        repository: row.name.clone(),
        indexed_commit: row.last_commit,
        head: row.head,
        commits_behind: if unknown.is_some() {
            None
        } else {
            row.commits_behind.or_else(|| same.then_some(0))
        },
        unknown: unknown.map(str::to_owned),
        differing_files: None,
    }
}
