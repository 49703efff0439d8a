//! The source: repositories in memory.

use async_trait::async_trait;
use bytes::Bytes;
use reposync::model::{BranchRef, GitSha, RepoEntry, RepoRef, StageError, StageResult, TreeEntry};
use reposync::source::{AnswerCache, ChangedFile, ContentSink, Head, Listing, Selection, Source};

use super::repo::sha_of;
use super::{BRANCHES, Fault, Lab, On, Outside, Tree};

pub(crate) struct LabSource(pub(crate) Lab);

const STAGE: &str = "source";

impl Outside {
    /// The tree of a commit, unless its history was rewritten.
    fn known(&self, commit: GitSha) -> StageResult<&Tree> {
        self.trees.get(&commit).ok_or_else(|| StageError::refused(STAGE, "there is no such commit"))
    }

    /// The commit at a branch's head.
    fn commit(&mut self, key: &str, branch: usize) -> Head {
        let Some(repo) = self.repos.values().find(|repo| repo.key == key) else { return Head::Missing };
        if !repo.commits {
            return Head::Empty;
        }
        let tree = repo.branches[branch].clone();
        let sha = sha_of(&format!("{key} {tree:?}"));
        self.trees.insert(sha, tree);
        Head::Commit(sha)
    }

    /// History is rewritten: the trees of older commits are gone.
    pub(crate) fn forget_commits(&mut self) {
        self.trees.clear();
    }
}

#[async_trait]
impl Source for LabSource {
    fn stage(&self) -> &'static str {
        STAGE
    }

    async fn list(&self, _: &Selection, _: &dyn AnswerCache, _: bool) -> StageResult<Listing> {
        let work = async || {
            let outside = self.0.lock();
            let nothing = matches!(outside.fault, Some(Fault::NothingListed));
            let listed = outside.repos.values().filter(|repo| repo.listed && !nothing);
            let repositories = listed
                .map(|repo| RepoEntry {
                    repo: RepoRef { name: repo.name.clone(), key: repo.key.clone() },
                    default_branch: BRANCHES[repo.default].into(),
                    pushed_at: Some(repo.stamp.to_string()),
                    pushed_at_settled: true,
                })
                .collect();
            Ok(Listing { repositories, ..Listing::default() })
        };
        self.0.call(On::List, STAGE, work).await
    }

    async fn head(&self, repo: &RepoEntry, branch: &BranchRef, _: Option<GitSha>) -> StageResult<Head> {
        let name = match branch {
            BranchRef::Named(name) => name,
            BranchRef::Default => &repo.default_branch,
        };
        let Some(branch) = BRANCHES.iter().position(|known| known == name) else { return Ok(Head::NoBranch) };
        self.0.call(On::Head, STAGE, async || Ok(self.0.lock().commit(&repo.repo.key, branch))).await
    }

    async fn tree(&self, _: &RepoRef, commit: GitSha) -> StageResult<Vec<TreeEntry>> {
        let work = async || {
            let outside = self.0.lock();
            let tree = outside.known(commit)?;
            let entries = tree.iter().map(|(path, blob)| TreeEntry {
                path: path.clone(),
                path_is_utf8: true,
                mode: blob.mode.entry(),
                sha: blob.sha(),
                size: Some(blob.text.len() as u64),
            });
            Ok(entries.collect())
        };
        self.0.call(On::Tree, STAGE, work).await
    }

    async fn fetch(
        &self,
        _: &RepoRef,
        commit: GitSha,
        wanted: Vec<TreeEntry>,
        sink: &mut dyn ContentSink,
    ) -> StageResult<()> {
        let work = async || {
            let (tree, bad) = {
                let outside = self.0.lock();
                let bad = match &outside.fault {
                    Some(Fault::BadFile { path }) => Some(path.clone()),
                    _ => None,
                };
                (outside.known(commit)?.clone(), bad)
            };
            for entry in wanted {
                let content = if bad.as_ref() == Some(&entry.path) {
                    Err(StageError::refused(STAGE, "an unreadable object"))
                } else {
                    Ok(Bytes::from(tree[&entry.path].text.clone()))
                };
                sink.put(entry, content).await?;
            }
            Ok(())
        };
        self.0.call(On::Fetch, STAGE, work).await
    }

    async fn changes(&self, _: &RepoRef, _: GitSha, _: GitSha) -> StageResult<Vec<ChangedFile>> {
        Ok(Vec::new())
    }

    async fn commits_between(&self, _: &RepoRef, _: GitSha, _: GitSha) -> StageResult<Option<u64>> {
        Ok(None)
    }

    fn permalink(&self, _: &RepoRef, commit: GitSha, path: &str, _: (u32, u32)) -> String {
        format!("{commit}/{path}")
    }
}
