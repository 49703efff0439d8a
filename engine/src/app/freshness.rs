//! How current the index of the repositories in an answer is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::timeout;

use super::App;
use crate::config::Config;
use crate::factory::StageFactory;
use crate::model::{BranchRef, Freshness, RepoEntry, RepoRef};
use crate::search::Answer;
use crate::source::{Head, Source};
use crate::state::{RepositoryRow, State};

/// How long a repository on this machine may be compared with what is indexed. A comparison that takes longer is
/// given up, so that it does not delay an answer.
const COMPARED: Duration = Duration::from_millis(150);

/// A repository on this machine, to compare with what is indexed.
struct Local {
    source: Arc<dyn Source>,
    branch: BranchRef,
}

impl App {
    /// How current the index of each of these repositories, given with its project, is.
    pub async fn freshness(&self, of: &BTreeSet<(String, String)>) -> Vec<Freshness> {
        freshness(&*self.state, &self.factory, &self.config, of).await
    }

    /// Adds to an answer how current its repositories are.
    pub(super) async fn with_freshness(&self, mut answer: Answer) -> Answer {
        answer.repositories = self.freshness(&repositories(&answer)).await;
        answer
    }
}

/// The repositories of an answer's matches, each with its project. Records of other programs have none.
pub(super) fn repositories(answer: &Answer) -> BTreeSet<(String, String)> {
    let of = answer.matches.iter().map(|found| (found.text("project"), found.text("repository")));
    let named = of.filter(|(project, repository)| !project.is_empty() && !repository.is_empty());
    named.map(|(project, repository)| (project.to_owned(), repository.to_owned())).collect()
}

/// How current the index of each of these repositories is: by the state, and where a repository is on this machine,
/// by its head and work tree. What cannot be read is unknown, and no error.
pub(super) async fn freshness(
    state: &dyn State,
    factory: &StageFactory,
    config: &Config,
    of: &BTreeSet<(String, String)>,
) -> Vec<Freshness> {
    let mut rows: BTreeMap<&str, Result<Vec<RepositoryRow>, String>> = BTreeMap::new();
    let mut locals: BTreeMap<&str, Local> = BTreeMap::new();
    for project in of.iter().map(|(project, _)| project.as_str()) {
        if rows.contains_key(project) {
            continue;
        }
        rows.insert(project, state.repositories(project).await.map_err(|error| error.one_line()));
        if let Some(declared) = config.project(project)
            && let Some(source) = factory.local_source(config, declared)
        {
            locals.insert(project, Local { source, branch: declared.branch.clone() });
        }
    }
    let one = async |(project, repository): &(String, String)| match &rows[project.as_str()] {
        Ok(rows) => match rows.iter().find(|row| row.name == *repository) {
            Some(row) => now(of_row(project, row), row, locals.get(project.as_str())).await,
            None => Freshness::unknown(project, repository, "the ledger has no record of this repository"),
        },
        Err(why) => Freshness::unknown(project, repository, &format!("the ledger cannot be read: {why}")),
    };
    join_all(of.iter().map(one)).await
}

/// What the state says of a repository.
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
    Freshness {
        project: project.to_owned(),
        repository: row.name.clone(),
        indexed_commit: row.last_commit,
        head: row.head,
        // At the same commit, nothing was counted.
        commits_behind: if unknown.is_some() { None } else { Some(row.commits_behind.unwrap_or(0)) },
        unknown: unknown.map(str::to_owned),
        differing_files: None,
    }
}

/// The same, compared with the repository if it is on this machine.
async fn now(known: Freshness, row: &RepositoryRow, local: Option<&Local>) -> Freshness {
    let (Some(local), Some(indexed)) = (local, row.last_commit) else { return known };
    let repo = RepoRef { name: row.name.clone(), key: row.key.clone() };
    let entry = row.entry.clone().unwrap_or_else(|| RepoEntry {
        repo: repo.clone(),
        default_branch: String::new(),
        pushed_at: None,
        pushed_at_settled: false,
    });
    let source = &local.source;
    let commits = async {
        let Ok(Head::Commit(head)) = source.head(&entry, &local.branch, None).await else { return None };
        let count = if head == indexed {
            Some(0)
        } else {
            source.commits_between(&repo, indexed, head).await.ok().flatten()
        };
        Some((head, count))
    };
    let files = async {
        // The work tree of another branch says nothing about the one that is indexed.
        match local.branch {
            BranchRef::Default => source.differing_files(&repo, indexed).await.ok().flatten(),
            BranchRef::Named(_) => None,
        }
    };
    let (commits, differing_files) = tokio::join!(timeout(COMPARED, commits), timeout(COMPARED, files));
    let mut fresh = Freshness { differing_files: differing_files.ok().flatten(), ..known };
    if let Ok(Some((head, count))) = commits {
        fresh.head = Some(head);
        fresh.commits_behind = count;
        fresh.unknown =
            count.is_none().then(|| "the branch was rewritten, or its history cannot be read".to_owned());
    }
    fresh
}
