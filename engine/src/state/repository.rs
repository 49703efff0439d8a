//! Repositories of a project: which commit is indexed, and what was seen when.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::fence::Fence;
use crate::model::{GitSha, RepoEntry, RepoRef, StageResult};

/// Repositories of projects.
#[async_trait]
pub trait Repositories {
    /// The recorded repositories of a project, by name.
    async fn repositories(&self, project: &str) -> StageResult<Vec<RepositoryRow>>;

    /// Records which repositories a listing selects, and the fingerprint of the selection if none is recorded
    /// yet. What is known of a repository that stays selected is kept.
    async fn record_listing(
        &self,
        fence: Fence,
        project: &str,
        names: BTreeSet<String>,
        selection: &str,
    ) -> StageResult<()>;

    /// Records what a run found out about selected repositories. `complete`: the run came to its end, so that
    /// nothing is wrong with those that `found` does not name.
    async fn record_findings(
        &self,
        fence: Fence,
        project: &str,
        found: BTreeMap<String, SelectedRepository>,
        complete: bool,
    ) -> StageResult<()>;

    /// Records that a repository exists, and its head. It is no orphan any more; the number of commits to its
    /// head is unknown if the head is another one.
    async fn saw_head(
        &self,
        fence: Fence,
        project: &str,
        entry: &RepoEntry,
        head: GitSha,
        now: DateTime<Utc>,
    ) -> StageResult<()>;

    /// Records that a repository's files are about to change: until its sync is finished, it is not settled,
    /// whatever its head and basis are.
    async fn begin_repository(&self, fence: Fence, project: &str, repository: &str) -> StageResult<()>;

    /// Records that a repository's sync is finished.
    async fn finish_repository(
        &self,
        fence: Fence,
        project: &str,
        sync: RepositorySync,
        now: DateTime<Utc>,
    ) -> StageResult<()>;

    /// Records that repositories were found unchanged: their heads are the commits that are indexed. None of them is
    /// an orphan any more.
    async fn confirm_repositories(
        &self,
        fence: Fence,
        project: &str,
        unchanged: Vec<UnchangedRepository>,
        now: DateTime<Utc>,
    ) -> StageResult<()>;

    /// Records that repositories are missing; returns since when each of them is.
    async fn mark_orphans(
        &self,
        fence: Fence,
        project: &str,
        repositories: Vec<String>,
        now: DateTime<Utc>,
    ) -> StageResult<BTreeMap<String, DateTime<Utc>>>;

    /// Deletes a repository of which the index holds nothing any more.
    async fn remove_repository(&self, fence: Fence, project: &str, repository: &str) -> StageResult<()>;

    /// The repositories of a project that are behind their heads by an unknown number of commits.
    async fn uncounted(&self, project: &str, limit: usize) -> StageResult<Vec<Uncounted>>;

    /// Records the number of commits between the indexed commit and the head; `None`: it cannot be determined.
    /// Has no effect if either has changed since, so it needs no lease.
    async fn count_commits(
        &self,
        project: &str,
        counted: &Uncounted,
        commits: Option<u64>,
    ) -> StageResult<()>;
}

/// A repository of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryRow {
    /// Its name.
    pub name: String,
    /// The source's stable key.
    pub key: String,
    /// The listing's entry at the last finished sync.
    pub entry: Option<RepoEntry>,
    /// The commit that is indexed.
    pub last_commit: Option<GitSha>,
    /// When its last sync finished (UTC, RFC 3339).
    pub last_synced_at: Option<String>,
    /// The head last seen.
    pub head: Option<GitSha>,
    /// Commits from the commit that is indexed to that head, where they were counted.
    pub commits_behind: Option<u64>,
    /// When the head was asked for.
    pub head_asked_at: Option<DateTime<Utc>>,
    /// True when nothing failed and nothing was withheld at the last finished sync.
    pub settled: bool,
    /// Fingerprint of what decides which files are indexed, and how.
    pub basis: Option<String>,
    /// Since when it is missing from complete listings.
    pub orphan_since: Option<DateTime<Utc>>,
    /// True if a file of it failed, is adopted or damaged, or has open intents.
    pub unsettled_files: bool,
    /// Grows with every change of what is recorded of its files.
    pub revision: u64,
}

/// The end of a repository's sync.
#[derive(Debug, Clone)]
pub struct RepositorySync {
    /// The entry of the listing.
    pub entry: RepoEntry,
    /// The commit that is indexed now: every file of it is done or recorded as failed.
    pub commit: GitSha,
    /// Nothing failed, nothing was withheld.
    pub settled: bool,
    /// See [`RepositoryRow::basis`].
    pub basis: String,
}

/// A repository of which everything is as it was at its last finished sync.
#[derive(Debug, Clone)]
pub struct UnchangedRepository {
    /// The entry of the listing.
    pub entry: RepoEntry,
    /// Its head, which is indexed.
    pub head: GitSha,
}

/// A repository that is behind its head by an unknown number of commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uncounted {
    /// Name and key.
    pub repo: RepoRef,
    /// The commit that is indexed.
    pub indexed: GitSha,
    /// The head last seen.
    pub head: GitSha,
}

/// What the last run found out about a selected repository, besides its files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SelectedRepository {
    /// Why it could not be indexed.
    pub error: Option<String>,
    /// True where it has no commits.
    pub empty: bool,
}
