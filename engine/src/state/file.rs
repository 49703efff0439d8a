//! Files and their chunks, as the state records them.

use crate::model::{Fingerprint, GitSha};

/// How a file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileStatus {
    /// The index holds it as its blob and recipe say.
    Synced,
    /// Its content is not for the index (binary, empty, …); known, so that it is not read again.
    Skipped,
    /// The last try failed; the index holds what blob and recipe say, or nothing.
    Failed,
    /// Found in the store, not yet compared with the repository.
    Adopted,
    /// `verify` found the store to differ, or its removal began.
    Damaged,
}

impl FileStatus {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Synced => "synced",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::Adopted => "adopted",
            Self::Damaged => "damaged",
        }
    }

    pub(super) fn parse(text: &str) -> Self {
        match text {
            "synced" => Self::Synced,
            "skipped" => Self::Skipped,
            "adopted" => Self::Adopted,
            "damaged" => Self::Damaged,
            // An unknown word is no proof of anything: try the file again.
            _ => Self::Failed,
        }
    }
}

/// A file as the ledger knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownFile {
    /// The path.
    pub path: String,
    /// The blob that the index holds; none: it holds nothing.
    pub blob_sha: Option<GitSha>,
    /// The recipe it was made by.
    pub recipe: Option<Fingerprint>,
    /// Where its vectors are.
    pub place: Option<i64>,
    /// How many vectors it has.
    pub vectors: u64,
    /// How it stands.
    pub status: FileStatus,
    /// The error of the last try, or the reason why it is skipped.
    pub detail: Option<String>,
}

/// One chunk as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredChunk {
    /// The record's id.
    pub id: String,
    /// Of its metadata, without `commit_sha` and `url`.
    pub fingerprint: Fingerprint,
}

/// A file to be recorded: its vectors are in, the old ones are out.
#[derive(Debug, Clone)]
pub struct FileRow {
    /// The repository's name.
    pub repository: String,
    /// The path.
    pub path: String,
    /// The commit that was indexed.
    pub commit: GitSha,
    /// The blob.
    pub blob_sha: GitSha,
    /// The recipe.
    pub recipe: Fingerprint,
    /// `Synced` or `Skipped`.
    pub status: FileStatus,
    /// Why it is skipped.
    pub detail: Option<String>,
    /// Its chunks; none for a skipped file.
    pub chunks: Vec<StoredChunk>,
}

/// The ids of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileIds {
    /// The repository.
    pub repository: String,
    /// The path.
    pub path: String,
    /// The ids.
    pub ids: Vec<String>,
}

/// A record of this project that was found in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdoptedRecord {
    /// Its id.
    pub id: String,
    /// Its `repository`.
    pub repository: String,
    /// Its `file_path`.
    pub path: String,
    /// Of its metadata, without `commit_sha` and `url`.
    pub fingerprint: Fingerprint,
}
