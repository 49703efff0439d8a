//! Why a file is in the index or not: the value that `explain` shows.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::GitSha;

/// What the projects of the file make of one path.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The path, from the root of a repository.
    pub path: String,
    /// One entry for each project asked for, in the order of the file.
    pub projects: Vec<ProjectExplanation>,
}

/// What one project makes of a path.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ProjectExplanation {
    /// The project.
    pub project: String,
    /// Why no file of this path is indexed, whatever its content; `None`: its content decides.
    pub left_out: Option<String>,
    /// The chunkers that may take it, in order: stage and label.
    pub chunkers: Vec<String>,
    /// Why the project's chunkers cannot be made.
    pub error: Option<String>,
    /// What the ledger knows of files with this path, by repository.
    pub files: Vec<FileFacts>,
}

/// What the ledger knows of a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FileFacts {
    /// Its repository.
    pub repository: String,
    /// `synced`, `skipped`, `failed`, `adopted` (found in the store and not compared yet) or `damaged`
    /// (the store differs).
    pub status: &'static str,
    /// The last error, or why it was skipped.
    pub detail: Option<String>,
    /// The blob that the index holds; `None`: it holds nothing.
    pub blob_sha: Option<GitSha>,
    /// The commit that it was written at.
    pub commit: Option<GitSha>,
    /// When it was written (UTC).
    pub synced_at: Option<DateTime<Utc>>,
    /// Chunks in the index.
    pub chunks: u64,
    /// Where they are.
    pub place: Option<String>,
    /// What the recipe they were made by consists of; `None` where it is not known.
    pub recipe: Option<Value>,
    /// Chunks that an interrupted run may have left; the next run closes them.
    pub open_intents: u64,
}
