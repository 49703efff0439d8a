//! Repositories of a project: which commit is indexed, and what was seen when.

use chrono::{DateTime, Utc};

use crate::model::{GitSha, RepoEntry, RepoRef};

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
