//! Files and their chunks: what the index holds of each.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::fence::Fence;
use super::ids::{FileIds, FileKey, HeldIds, IdsOf, PlacedIds};
use crate::model::{FileFacts, Fingerprint, GitSha, Place, StageResult};

/// Files of projects.
#[async_trait]
pub trait Files {
    /// All files of a repository, by path, as they are recorded for a place.
    async fn known_files(&self, project: &str, repository: &str, place: &Place) -> StageResult<KnownFiles>;

    /// What may be in a place for each of these files, in their order.
    async fn held_ids_many(
        &self,
        project: &str,
        place: &Place,
        files: Vec<FileKey>,
    ) -> StageResult<Vec<HeldIds>>;

    /// Record ids of a project in every place, by file.
    async fn ids(&self, project: &str, of: IdsOf) -> StageResult<Vec<PlacedIds>>;

    /// Records, durably, that records with these ids are about to be written to a place, or deleted from it. One
    /// call for each upsert batch, before it is sent.
    async fn open_intents(
        &self,
        fence: Fence,
        project: &str,
        place: &Place,
        intents: Vec<FileIds>,
    ) -> StageResult<()>;

    /// Records files as done: their rows and chunks are replaced and their intents closed. Ids that a file
    /// leaves behind in another place become leftovers.
    async fn commit_files(
        &self,
        fence: Fence,
        project: &str,
        place: &Place,
        rows: Vec<FileRow>,
        now: DateTime<Utc>,
    ) -> StageResult<()>;

    /// Records that the last try to index a file into a place failed. What the index holds of it, there or in
    /// another place, stays recorded.
    async fn record_failure(
        &self,
        fence: Fence,
        project: &str,
        place: &Place,
        file: &FileKey,
        error: &str,
    ) -> StageResult<()>;

    /// Marks files as damaged: the next run that selects them writes all their records again.
    async fn mark_damaged(&self, fence: Fence, project: &str, files: Damaged) -> StageResult<()>;

    /// Deletes the rows of files whose vectors are deleted from the stores. `left`: ids that could not be
    /// reached; they stay recorded, to be deleted later.
    async fn remove_files(
        &self,
        fence: Fence,
        project: &str,
        files: Vec<FileKey>,
        left: Vec<PlacedIds>,
    ) -> StageResult<()>;

    /// Deletes the record of leftovers that are deleted from their place.
    async fn close_leftovers(
        &self,
        fence: Fence,
        project: &str,
        place: &Place,
        ids: Vec<String>,
    ) -> StageResult<()>;

    /// The files of a project that the index holds with one of these contents.
    async fn files_of_blobs(&self, project: &str, blobs: Vec<GitSha>) -> StageResult<Vec<BlobFile>>;

    /// What recipes are made of, as JSON; those that are not known are left out.
    async fn recipes(&self, recipes: Vec<Fingerprint>) -> StageResult<HashMap<Fingerprint, String>>;

    /// Records what recipes are made of.
    async fn record_recipes(&self, fence: Fence, recipes: Vec<(Fingerprint, String)>) -> StageResult<()>;

    /// What is known of the files of a project with this path, in one repository or in all of them, by
    /// repository.
    async fn explain_file(
        &self,
        project: &str,
        repository: Option<&str>,
        path: &str,
    ) -> StageResult<Vec<FileFacts>>;
}

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
    /// The word in the state and in answers.
    pub fn as_str(self) -> &'static str {
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

/// The files of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownFiles {
    /// Those with a row, by path.
    pub files: Vec<KnownFile>,
    /// Paths with open intents: they must be written again, whatever else is recorded of them. Some have no
    /// row.
    pub unfinished: BTreeSet<String>,
}

/// A recorded file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownFile {
    /// The path.
    pub path: String,
    /// The blob that the index holds; none: it holds nothing.
    pub blob_sha: Option<GitSha>,
    /// The recipe it was made by.
    pub recipe: Option<Fingerprint>,
    /// True if its vectors are in the place that was asked about.
    pub in_place: bool,
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
    /// The file.
    pub file: FileKey,
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

/// Which files are damaged.
#[derive(Debug, Clone)]
pub enum Damaged {
    /// All files of the project: its removal begins.
    All,
    /// These.
    Files(Vec<FileKey>),
}

/// A file that holds one of the contents that were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobFile {
    /// The content.
    pub blob: GitSha,
    /// The recipe it was made by.
    pub recipe: Option<Fingerprint>,
    /// The file.
    pub file: FileKey,
}
