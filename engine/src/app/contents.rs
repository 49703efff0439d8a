//! Contents of repositories, as far as a project indexes them: changed files, and files.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;

use super::{App, AppError, AppResult, Scope};
use crate::chunk::clean;
use crate::model::{GitSha, RepoEntry, RepoRef, SecretsMode, SkipReason, StageError, StageResult, TreeEntry};
use crate::plan::Attributes;
use crate::source::{ChangedFile, ContentSink};
use crate::sync::{Project, Recipes, reaches, read_attributes};

/// A file that differs between two commits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ChangeView {
    /// The path after the change.
    pub path: String,
    /// `added`, `removed`, `modified`, `renamed`, `copied`, `changed`.
    pub status: String,
    /// The path before, for a rename.
    pub previous_path: Option<String>,
    /// The blob after the change; `None` for a removal.
    pub blob_sha: Option<String>,
}

/// The differences between two commits of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ChangesView {
    /// The repository.
    pub repository: String,
    /// The base commit; `None`: every file counts as added.
    pub base: Option<String>,
    /// The head of the branch that the project indexes.
    pub head: String,
    /// The files.
    pub files: Vec<ChangeView>,
}

/// A file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentView {
    /// The repository.
    pub repository: String,
    /// The commit.
    pub commit: String,
    /// The blob.
    pub blob_sha: String,
    /// The bytes.
    pub bytes: bytes::Bytes,
}

impl App {
    /// Lists the files that differ between a commit and the head of a repository that a project
    /// selects.
    pub async fn changes(&self, scope: &Scope, repo: &str, base: Option<GitSha>) -> AppResult<ChangesView> {
        let (project, entry, head) = self.find_repository(scope, repo).await?;
        if let Some(base) = base {
            check_reached(&project, &entry, base, head).await?;
        }
        let files = differing(&project, &entry.repo, base, head).await?;
        let files = files
            .into_iter()
            .map(|file| ChangeView {
                path: file.path,
                status: file.status,
                previous_path: file.previous_path,
                blob_sha: file.blob_sha.map(|sha| sha.to_string()),
            })
            .collect();
        let base = base.map(|sha| sha.to_string());
        Ok(ChangesView { repository: entry.repo.name, base, head: head.to_string(), files })
    }

    /// Returns a file of a repository that a project selects, at its head or at a commit.
    pub async fn content(
        &self,
        scope: &Scope,
        repo: &str,
        path: &str,
        commit: Option<GitSha>,
    ) -> AppResult<ContentView> {
        let (project, entry, head) = self.find_repository(scope, repo).await?;
        let commit = commit.unwrap_or(head);
        check_reached(&project, &entry, commit, head).await?;
        let found = read(&project, &entry.repo, commit, path).await?;
        let (blob, bytes) = found
            .ok_or_else(|| AppError::Absent(format!("`{repo}` has no file `{path}` at commit {commit}")))?;
        Ok(ContentView {
            repository: entry.repo.name,
            commit: commit.to_string(),
            blob_sha: blob.to_string(),
            bytes,
        })
    }
}

/// Rejects commits that are not reachable from the indexed head: other branches and commits removed
/// by a force-push are not exposed.
async fn check_reached(project: &Project, entry: &RepoEntry, commit: GitSha, head: GitSha) -> AppResult<()> {
    if reaches(project, &entry.repo, commit, head).await? {
        return Ok(());
    }
    let message =
        format!("commit {commit} is not on the branch of `{}` that the project indexes", entry.repo.name);
    Err(StageError::refused(project.source.stage(), message).into())
}

/// What differs between two commits among the files that the project selects; without a base,
/// every one of the head.
async fn differing(
    project: &Arc<Project>,
    repo: &RepoRef,
    base: Option<GitSha>,
    head: GitSha,
) -> StageResult<Vec<ChangedFile>> {
    let tree = project.source.tree(repo, head).await?;
    let selected = Selected::at(project, repo, head, &tree).await?;
    let Some(base) = base else {
        let added = |entry: TreeEntry| ChangedFile {
            path: entry.path,
            status: "added".to_owned(),
            previous_path: None,
            blob_sha: Some(entry.sha),
        };
        return Ok(tree.into_iter().filter(|entry| selected.skip(entry).is_none()).map(added).collect());
    };
    let mut files = project.source.changes(repo, base, head).await?;
    files.retain(|file| selected.has_path(&file.path));
    for file in &mut files {
        file.previous_path = file.previous_path.take().filter(|path| selected.has_path(path));
    }
    Ok(files)
}

/// What a project selects of a tree, by names, modes, sizes and `.gitattributes`.
struct Selected<'a> {
    project: &'a Project,
    recipes: Recipes,
    attributes: Attributes,
}

impl<'a> Selected<'a> {
    async fn at(
        project: &'a Arc<Project>,
        repo: &RepoRef,
        commit: GitSha,
        tree: &[TreeEntry],
    ) -> StageResult<Self> {
        let attributes = read_attributes(project, repo, commit, tree).await?;
        Ok(Self { project, recipes: Recipes::new(Arc::clone(project)), attributes })
    }

    /// Why a file is not indexed; `None`: its content decides.
    fn skip(&self, entry: &TreeEntry) -> Option<SkipReason> {
        let reason = self.project.selector.skip(entry, &self.attributes);
        reason.or_else(|| self.recipes.of(&entry.path).is_none().then_some(SkipReason::NoChunker))
    }

    /// The same by the path alone, for a file that may be gone.
    fn has_path(&self, path: &str) -> bool {
        let entry = TreeEntry::of_path(path);
        self.skip(&entry).is_none()
    }
}

/// A file's content at a commit, with its blob, as the project's `secrets` mode leaves it; `None`:
/// there is no such file among those that the project selects.
async fn read(
    project: &Arc<Project>,
    repo: &RepoRef,
    commit: GitSha,
    path: &str,
) -> StageResult<Option<(GitSha, Bytes)>> {
    let tree = project.source.tree(repo, commit).await?;
    let selected = Selected::at(project, repo, commit, &tree).await?;
    let Some(entry) = tree.into_iter().find(|entry| entry.path == path) else { return Ok(None) };
    match selected.skip(&entry) {
        None => {}
        Some(SkipReason::TooLarge) => {
            let most = project.selector.max_file_bytes;
            let message = format!("the file has more than `max_file_bytes` ({most})");
            return Err(StageError::refused(project.source.stage(), message));
        }
        Some(_) => return Ok(None),
    }
    let sha = entry.sha;
    let mut one = One::default();
    project.source.fetch(repo, commit, vec![entry], &mut one).await?;
    let Some(content) = one.content.transpose()? else { return Ok(None) };
    Ok(without_secrets(project, content).map(|content| (sha, content)))
}

/// A content as the index would hold it; `None`: it would not hold it.
fn without_secrets(project: &Project, content: Bytes) -> Option<Bytes> {
    if project.secrets == SecretsMode::Off {
        return Some(content);
    }
    let text = clean(&content).ok()?.text;
    match project.scanner.redact(&text) {
        Cow::Borrowed(_) => Some(content),
        Cow::Owned(redacted) => (project.secrets == SecretsMode::Redact).then(|| Bytes::from(redacted)),
    }
}

/// Keeps one content.
#[derive(Default)]
struct One {
    content: Option<StageResult<Bytes>>,
}

#[async_trait]
impl ContentSink for One {
    async fn put(&mut self, _: TreeEntry, content: StageResult<Bytes>) -> StageResult<()> {
        self.content = Some(content);
        Ok(())
    }
}
