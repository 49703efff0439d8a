//! Where files come from. A source lists repositories, names heads, reads trees and contents;
//! it knows nothing of chunks, vectors or the ledger.

mod branch;
mod config;
mod diff;
pub mod git;
pub mod git_remote;
pub mod github;
mod limits;
mod objects;
mod permalink;
mod selection;
mod tracked;
mod verify;
mod webhook;

use async_trait::async_trait;
use bytes::Bytes;

use crate::model::{BranchRef, GitSha, RepoEntry, RepoRef, StageError, StageResult, StoredAnswer, TreeEntry};

pub use config::{SourceConfig, SourceContext};
pub use limits::Limits;
pub use selection::{NamedRepository, Selection, WrittenRepository};
pub use tracked::refuse_tracked;
pub use webhook::{SIGNATURE_BYTES, Webhook, WebhookEvent};

/// A complete listing: a repository that is not in it does not exist. An incomplete listing is an error, never
/// a shorter list.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// The repositories, by name.
    pub repositories: Vec<RepoEntry>,
    /// Named repositories that answered 404: absent, or invisible to these credentials.
    pub missing: Vec<RepoRef>,
    /// Named repositories that were refused (403, 451, an unreadable folder), each with why.
    pub refused: Vec<(RepoRef, StageError)>,
}

/// What a branch points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// A commit.
    Commit(GitSha),
    /// The repository has no commits.
    Empty,
    /// The repository is not there any more (404).
    Missing,
    /// The repository is there, the branch is not.
    NoBranch,
}

/// Whether, and how, what differs between two commits could be named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedFile {
    /// The path after the change.
    pub path: String,
    /// `added`, `removed`, `modified`, `renamed`, `copied`, `changed`.
    pub status: String,
    /// The path before, for a rename.
    pub previous_path: Option<String>,
    /// The blob after the change; none for a removal.
    pub blob_sha: Option<GitSha>,
}

/// A commit that is no merge, with what it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastCommit {
    /// Its parent.
    pub parent: GitSha,
    /// The first line of its message.
    pub subject: String,
    /// The files that it changed.
    pub files: Vec<ChangedFile>,
}

/// Answers that a source may keep between runs to ask conditionally: an ETag and what it stood for.
/// The ledger implements it. Losing an entry costs a request, never correctness.
#[async_trait]
pub trait AnswerCache: Send + Sync {
    /// The stored answer for a key.
    async fn get(&self, key: &str) -> Option<StoredAnswer>;
    /// Replaces the answer for a key.
    async fn put(&self, key: &str, answer: &StoredAnswer);
}

/// Takes contents as they are read. `put` waits while too many bytes are in flight.
#[async_trait]
pub trait ContentSink: Send {
    /// One wanted file: its bytes, checked against the blob id, or why it could not be had.
    /// An error returned from here ends the fetch with that error.
    async fn put(&mut self, entry: TreeEntry, content: StageResult<Bytes>) -> StageResult<()>;
}

/// A place where repositories live.
///
/// All calls are idempotent and may run at once. Errors of kind `Refused`/`BadInput` concern the
/// one repository or file asked for; all others concern the stage.
#[async_trait]
pub trait Source: Send + Sync {
    /// The stage's name in the file.
    fn stage(&self) -> &str;

    /// True where reading contents costs neither requests nor time worth naming, so that a plan
    /// counts instead of estimating.
    fn reads_are_free(&self) -> bool {
        false
    }

    /// True where counting commits costs neither requests nor time worth naming.
    fn counts_are_free(&self) -> bool {
        self.reads_are_free()
    }

    /// Maximum number of files of a project that a plan may read to estimate the others.
    fn sample(&self) -> usize {
        0
    }

    /// Lists what is selected, whole or not at all. `fresh`: believe no stored answer.
    async fn list(
        &self,
        selection: &Selection,
        answers: &dyn AnswerCache,
        fresh: bool,
    ) -> StageResult<Listing>;

    /// The commit that a branch points at now. `known` is the commit last seen, for a conditional request.
    async fn head(&self, repo: &RepoEntry, branch: &BranchRef, known: Option<GitSha>) -> StageResult<Head>;

    /// The whole recursive tree of a commit: blobs, links and submodules, sorted by path, each path
    /// once. A tree beyond the [`Limits`] is an error of kind `Refused`.
    async fn tree(&self, repo: &RepoRef, commit: GitSha) -> StageResult<Vec<TreeEntry>>;

    /// Reads the contents of `wanted`, entries of the commit's tree, in any order, each exactly
    /// once into `sink`.
    async fn fetch(
        &self,
        repo: &RepoRef,
        commit: GitSha,
        wanted: Vec<TreeEntry>,
        sink: &mut dyn ContentSink,
    ) -> StageResult<()>;

    /// What differs between two commits, for `/changes` and labels; no correctness rests on it.
    async fn changes(&self, repo: &RepoRef, base: GitSha, head: GitSha) -> StageResult<Vec<ChangedFile>>;

    /// How many commits `head` is ahead of `base`, counted to [`MOST_COMMITS`](crate::model::MOST_COMMITS);
    /// `None` if it does not descend from it, or if that is unknown.
    async fn commits_between(&self, repo: &RepoRef, base: GitSha, head: GitSha) -> StageResult<Option<u64>>;

    /// The commits before and including `head`, newest first, along first parents and without merges, of
    /// at most `most`; `None` if the source does not give them.
    async fn history(
        &self,
        _repo: &RepoRef,
        _head: GitSha,
        _most: usize,
    ) -> StageResult<Option<Vec<PastCommit>>> {
        Ok(None)
    }

    /// How many tracked files of the repository's work tree differ from a commit; `None` if it has none.
    async fn differing_files(&self, _repo: &RepoRef, _commit: GitSha) -> StageResult<Option<u64>> {
        Ok(None)
    }

    /// A permalink to lines (1-based, inclusive) of a file at a commit; empty where there is none.
    fn permalink(&self, repo: &RepoRef, commit: GitSha, path: &str, lines: (u32, u32)) -> String;
}
