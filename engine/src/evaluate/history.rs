//! Questions from a repository's history: the subject of a commit asks for the files that it changed.
//! They are asked of a temporary index of the tree before all of these commits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;

use super::questions::Question;
use crate::chunk::language_of;
use crate::model::{
    BranchRef, ErrorKind, GitSha, RepoEntry, RepoRef, StageError, StageResult, StoredAnswer, TreeEntry,
};
use crate::rank::is_source_path;
use crate::source::{AnswerCache, ChangedFile, ContentSink, Head, Listing, PastCommit, Selection, Source};
use crate::state::Lease;
use crate::store::VectorStore;
use crate::sync::{Candidate, Engine, Options, Project, run};

/// Commits that are looked at for each question that is wanted.
const LOOKED_AT: usize = 20;
/// Files that a commit may change in all.
const MOST_FILES: usize = 12;
/// Languages that are not source code.
const NO_SOURCE: &[&str] =
    &["markdown", "text", "restructuredtext", "asciidoc", "json", "yaml", "toml", "xml", "csv"];

/// The questions of a project's history.
pub struct Past {
    /// The questions.
    pub questions: Vec<Question>,
    /// By repository, the commit whose tree is searched.
    pub commits: BTreeMap<String, GitSha>,
}

/// What a temporary index is built with.
pub struct HistoryIndex {
    /// The project; its source and its store are replaced.
    pub project: Project,
    /// The temporary ledger, and the bounds of the run.
    pub engine: Arc<Engine>,
    /// The right to write to that ledger.
    pub lease: Lease,
    /// The options of the run.
    pub options: Options,
    /// Where the vectors go.
    pub store: Arc<dyn VectorStore>,
}

/// Reads `most` questions of each repository of a project, indexes the trees before these commits into
/// a temporary store, and returns the questions whose files existed then.
pub async fn build_history_index(index: HistoryIndex, most: usize) -> StageResult<(Past, Arc<Project>)> {
    let HistoryIndex { mut project, engine, lease, options, store } = index;
    let past = past(&project, most).await?;
    project.source = Arc::new(Pinned { inner: Arc::clone(&project.source), commits: past.commits.clone() });
    project.store = store;
    project.notifiers.clear();
    let project = Arc::new(project);
    let candidate = Candidate { name: project.name().to_owned(), project: Ok(Arc::clone(&project)) };
    let report = run(engine, lease, vec![candidate], options, None, "eval").await?;
    if let Some(error) = report.projects.iter().find_map(|project| project.error.as_ref()) {
        return Err(StageError::new(
            project.name(),
            ErrorKind::Local,
            format!("the temporary index failed: {}", error.error),
        ));
    }
    Ok((past, project))
}

async fn past(project: &Project, most: usize) -> StageResult<Past> {
    let mut past = Past { questions: Vec::new(), commits: BTreeMap::new() };
    let listing = project.source.list(&project.selection, &NoAnswers, true).await?;
    for entry in &listing.repositories {
        let Head::Commit(head) = project.source.head(entry, &project.branch, None).await? else { continue };
        let history = project.source.history(&entry.repo, head, most.saturating_mul(LOOKED_AT)).await?;
        let Some(history) = history else {
            let message = "this source does not give the history of a repository";
            return Err(StageError::new(project.source.stage(), ErrorKind::BadInput, message)
                .hint("name a local clone with `--repo PATH`, or write questions into a file"));
        };
        let eligible: Vec<&PastCommit> = history.iter().filter(|one| is_eligible(one)).take(most).collect();
        let Some(parent) = eligible.last().map(|oldest| oldest.parent) else { continue };
        let tree = project.source.tree(&entry.repo, parent).await?;
        let existing: BTreeSet<&str> = tree.iter().map(|file| file.path.as_str()).collect();
        for commit in eligible {
            let paths: Vec<String> =
                changed_sources(commit).filter(|path| existing.contains(path)).map(str::to_owned).collect();
            if !paths.is_empty() {
                past.questions.push(Question {
                    query: subject(commit).to_owned(),
                    paths,
                    symbols: Vec::new(),
                });
            }
        }
        past.commits.insert(entry.repo.name.clone(), parent);
    }
    if past.questions.is_empty() {
        let message = "the history has no commit that changes one to three source files";
        return Err(StageError::new(project.source.stage(), ErrorKind::BadInput, message));
    }
    Ok(past)
}

/// A commit that asks a question: it changes one to three existing source files, and its subject says
/// something.
fn is_eligible(commit: &PastCommit) -> bool {
    let sources = changed_sources(commit).count();
    (1..=3).contains(&sources)
        && commit.files.len() <= MOST_FILES
        && subject(commit).split_whitespace().count() >= 3
}

/// The source files that a commit changed, by the path before it.
fn changed_sources(commit: &PastCommit) -> impl Iterator<Item = &str> {
    let existing = commit.files.iter().filter(|file| file.status != "added");
    let paths = existing.map(|file| file.previous_path.as_deref().unwrap_or(&file.path));
    paths.filter(|path| {
        is_source_path(path) && language_of(path).is_some_and(|language| !NO_SOURCE.contains(&language))
    })
}

/// The subject without the number of its pull request.
fn subject(commit: &PastCommit) -> &str {
    let subject = commit.subject.trim();
    match subject.rsplit_once(" (#") {
        Some((before, number)) if number.ends_with(')') => before,
        _ => subject,
    }
}

/// Stored answers are not needed for one listing.
struct NoAnswers;

#[async_trait]
impl AnswerCache for NoAnswers {
    async fn get(&self, _: &str) -> Option<StoredAnswer> {
        None
    }

    async fn put(&self, _: &str, _: &StoredAnswer) {}
}

/// A source whose heads are fixed commits.
struct Pinned {
    inner: Arc<dyn Source>,
    commits: BTreeMap<String, GitSha>,
}

#[async_trait]
impl Source for Pinned {
    fn stage(&self) -> &str {
        self.inner.stage()
    }

    fn reads_are_free(&self) -> bool {
        self.inner.reads_are_free()
    }

    fn counts_are_free(&self) -> bool {
        self.inner.counts_are_free()
    }

    async fn list(
        &self,
        selection: &Selection,
        answers: &dyn AnswerCache,
        fresh: bool,
    ) -> StageResult<Listing> {
        let mut listing = self.inner.list(selection, answers, fresh).await?;
        listing.repositories.retain(|entry| self.commits.contains_key(&entry.repo.name));
        Ok(listing)
    }

    async fn head(&self, repo: &RepoEntry, _: &BranchRef, _: Option<GitSha>) -> StageResult<Head> {
        Ok(self.commits.get(&repo.repo.name).map_or(Head::Missing, |commit| Head::Commit(*commit)))
    }

    async fn tree(&self, repo: &RepoRef, commit: GitSha) -> StageResult<Vec<TreeEntry>> {
        self.inner.tree(repo, commit).await
    }

    async fn fetch(
        &self,
        repo: &RepoRef,
        commit: GitSha,
        wanted: Vec<TreeEntry>,
        sink: &mut dyn ContentSink,
    ) -> StageResult<()> {
        self.inner.fetch(repo, commit, wanted, sink).await
    }

    async fn changes(&self, repo: &RepoRef, base: GitSha, head: GitSha) -> StageResult<Vec<ChangedFile>> {
        self.inner.changes(repo, base, head).await
    }

    async fn commits_between(&self, repo: &RepoRef, base: GitSha, head: GitSha) -> StageResult<Option<u64>> {
        self.inner.commits_between(repo, base, head).await
    }

    fn permalink(&self, repo: &RepoRef, commit: GitSha, path: &str, lines: (u32, u32)) -> String {
        self.inner.permalink(repo, commit, path, lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(subject: &str, files: &[(&str, &str)]) -> PastCommit {
        let file = |(path, status): &(&str, &str)| ChangedFile {
            path: (*path).to_owned(),
            status: (*status).to_owned(),
            previous_path: None,
            blob_sha: None,
        };
        PastCommit {
            parent: GitSha([0; 20]),
            subject: subject.to_owned(),
            files: files.iter().map(file).collect(),
        }
    }

    #[test]
    fn commits_that_change_few_source_files_ask() {
        let source = ("src/a.rs", "modified");
        assert!(is_eligible(&commit("fix the retry policy (#12)", &[source, ("CHANGELOG.md", "modified")])));
        assert_eq!(subject(&commit("fix the retry policy (#12)", &[])), "fix the retry policy");
        for no in [
            commit("fix typo", &[source]),
            commit("change the readme alone", &[("README.md", "modified")]),
            commit("add a new file", &[("src/b.rs", "added")]),
            commit("change only a test", &[("tests/a.rs", "modified")]),
            commit(
                "touch everything at once",
                &[source, ("b.rs", "modified"), ("c.rs", "modified"), ("d.rs", "modified")],
            ),
        ] {
            assert!(!is_eligible(&no), "{no:?}");
        }
    }
}
