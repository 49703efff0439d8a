//! How current the index of the repositories in an answer is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::App;
use crate::config::Config;
use crate::factory::{StageFactory, chosen};
use crate::model::{BranchRef, Freshness, GitSha, RepoEntry, RepoRef};
use crate::search::Answer;
use crate::source::{Head, Source};
use crate::state::{RepositoryRow, State};

/// How long a comparison of a repository on this machine with what is indexed is waited for. One that takes longer is
/// given up.
const WAITED: Duration = Duration::from_millis(150);

/// The least time for which comparisons are waited for after a search; more if the search took longer.
const WAITED_AFTER_SEARCH: Duration = Duration::from_millis(30);

/// At most this many projects and repositories are compared while the search runs, before it is known which of them
/// have a match.
const EARLY: usize = 4;

/// A repository on this machine, to compare with what is indexed.
#[derive(Clone)]
struct Local {
    source: Arc<dyn Source>,
    branch: BranchRef,
}

/// What a comparison has found; `None`: it cannot be known.
struct Compared {
    commits: Option<(GitSha, Option<u64>)>,
    files: Option<u64>,
}

/// A comparison that runs. It is given up when this is dropped.
struct Comparing {
    files: Task<Option<u64>>,
    commits: Task<Option<(GitSha, Option<u64>)>>,
}

/// A task that ends with its owner.
struct Task<T>(JoinHandle<T>);

/// Comparisons that run while a search does.
pub(super) struct Early {
    since: Instant,
    /// By project and repository.
    running: BTreeMap<(String, String), Comparing>,
}

impl App {
    /// How current the index of each of these repositories, given with its project, is.
    pub async fn freshness(&self, of: &BTreeSet<(String, String)>) -> Vec<Freshness> {
        self.freshness_after(of, None).await
    }

    async fn freshness_after(&self, of: &BTreeSet<(String, String)>, early: Option<Early>) -> Vec<Freshness> {
        freshness(&*self.state, &self.factory, &self.config, of, early).await
    }

    /// Starts to compare the repositories of the projects that are searched.
    pub(super) async fn compare_early(&self, names: &[String]) -> Early {
        Early::start(&*self.state, &self.factory, &self.config, names).await
    }

    /// Adds to an answer how current its repositories are.
    pub(super) async fn with_freshness(&self, mut answer: Answer, early: Option<Early>) -> Answer {
        answer.repositories = self.freshness_after(&repositories(&answer), early).await;
        answer
    }
}

/// The repositories of an answer's matches, each with its project. Records of other programs have none.
pub(super) fn repositories(answer: &Answer) -> BTreeSet<(String, String)> {
    let of = answer.matches.iter().map(|found| (found.text("project"), found.text("repository")));
    let named = of.filter(|(project, repository)| !project.is_empty() && !repository.is_empty());
    named.map(|(project, repository)| (project.to_owned(), repository.to_owned())).collect()
}

impl Early {
    /// Starts to compare the repositories of the projects that are searched (all enabled ones if `names` is empty), if
    /// they are few.
    pub(super) async fn start(
        state: &dyn State,
        factory: &StageFactory,
        config: &Config,
        names: &[String],
    ) -> Self {
        let mut early = Self { since: Instant::now(), running: BTreeMap::new() };
        let projects: Vec<_> = chosen(config, names).take(EARLY + 1).collect();
        if projects.len() > EARLY {
            return early;
        }
        for project in projects {
            let Some(local) = Local::of(factory, config, &project.name) else { continue };
            let Ok(rows) = state.repositories(&project.name).await else { continue };
            if early.running.len() + rows.len() > EARLY {
                break;
            }
            for row in rows {
                if let Some(comparing) = local.compare(&row) {
                    early.running.insert((project.name.clone(), row.name), comparing);
                }
            }
        }
        early
    }
}

/// How current the index of each of these repositories is: by the state, and where a repository is on this machine,
/// by its head and work tree. What cannot be read is unknown, and no error.
pub(super) async fn freshness(
    state: &dyn State,
    factory: &StageFactory,
    config: &Config,
    of: &BTreeSet<(String, String)>,
    early: Option<Early>,
) -> Vec<Freshness> {
    let wait = early.as_ref().map_or(WAITED, |early| early.since.elapsed().max(WAITED_AFTER_SEARCH));
    let mut early = early.map(|early| early.running).unwrap_or_default();
    let mut rows: BTreeMap<&str, Result<Vec<RepositoryRow>, String>> = BTreeMap::new();
    let mut locals: BTreeMap<&str, Local> = BTreeMap::new();
    for project in of.iter().map(|(project, _)| project.as_str()) {
        if rows.contains_key(project) {
            continue;
        }
        rows.insert(project, state.repositories(project).await.map_err(|error| error.one_line()));
        if let Some(local) = Local::of(factory, config, project) {
            locals.insert(project, local);
        }
    }
    let known = of.iter().map(|key| {
        let (project, repository) = key;
        match &rows[project.as_str()] {
            Ok(rows) => {
                if let Some(row) = rows.iter().find(|row| row.name == *repository) {
                    let late = || locals.get(project.as_str())?.compare(row);
                    (of_row(project, row), early.remove(key).or_else(late))
                } else {
                    let why = "the ledger has no record of this repository";
                    (Freshness::unknown(project, repository, why), None)
                }
            }
            Err(why) => {
                let why = format!("the ledger cannot be read: {why}");
                (Freshness::unknown(project, repository, &why), None)
            }
        }
    });
    // All comparisons are started before one is waited for.
    let known: Vec<(Freshness, Option<Comparing>)> = known.collect();
    let waited = known.into_iter().map(async |(fresh, comparing)| match comparing {
        Some(comparing) => with(fresh, &comparing.wait(wait).await),
        None => fresh,
    });
    join_all(waited).await
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

/// The same, with what the comparison has found.
fn with(known: Freshness, compared: &Compared) -> Freshness {
    let mut fresh = Freshness { differing_files: compared.files, ..known };
    if let Some((head, count)) = compared.commits {
        fresh.head = Some(head);
        fresh.commits_behind = count;
        fresh.unknown =
            count.is_none().then(|| "the branch was rewritten, or its history cannot be read".to_owned());
    }
    fresh
}

impl Local {
    /// `None` if the project's repositories are elsewhere.
    fn of(factory: &StageFactory, config: &Config, project: &str) -> Option<Self> {
        let declared = config.project(project)?;
        let source = factory.local_source(config, declared)?;
        Some(Self { source, branch: declared.branch.clone() })
    }

    /// Starts a comparison; `None` if nothing is indexed to compare with.
    fn compare(&self, row: &RepositoryRow) -> Option<Comparing> {
        let indexed = row.last_commit?;
        let repo = RepoRef { name: row.name.clone(), key: row.key.clone() };
        let entry = row.entry.clone().unwrap_or_else(|| RepoEntry {
            repo: repo.clone(),
            default_branch: String::new(),
            pushed_at: None,
            pushed_at_settled: false,
        });
        let Self { source, branch } = self.clone();
        let files = async move {
            // The work tree of another branch says nothing about the one that is indexed.
            match branch {
                BranchRef::Default => source.differing_files(&repo, indexed).await.ok().flatten(),
                BranchRef::Named(_) => None,
            }
        };
        let Self { source, branch } = self.clone();
        let commits = async move {
            let Ok(Head::Commit(head)) = source.head(&entry, &branch, None).await else { return None };
            let count = if head == indexed {
                Some(0)
            } else {
                source.commits_between(&entry.repo, indexed, head).await.ok().flatten()
            };
            Some((head, count))
        };
        Some(Comparing { files: Task::start(files), commits: Task::start(commits) })
    }
}

impl Comparing {
    async fn wait(self, most: Duration) -> Compared {
        let (commits, files) = tokio::join!(self.commits.wait(most), self.files.wait(most));
        Compared { commits: commits.flatten(), files: files.flatten() }
    }
}

impl<T: Send + 'static> Task<T> {
    fn start(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    /// Its result; `None` if it takes too long.
    async fn wait(mut self, most: Duration) -> Option<T> {
        timeout(most, &mut self.0).await.ok()?.ok()
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
