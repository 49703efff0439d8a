//! Why a file is or is not in the index: the result of `explain`.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::GitSha;

/// How the projects of the configuration treat one path.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The path, from the root of a repository.
    pub path: String,
    /// One entry per requested project, in the order of the file.
    pub projects: Vec<ProjectExplanation>,
}

/// How one project treats a path.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ProjectExplanation {
    /// The project.
    pub project: String,
    /// Why a file with this path is never indexed; `None` if that depends on its content.
    pub left_out: Option<String>,
    /// The chunkers that are tried, in order: stage and label.
    pub chunkers: Vec<String>,
    /// Why the project's chunkers could not be built.
    pub error: Option<String>,
    /// The ledger's records of files with this path, one per repository.
    pub files: Vec<FileFacts>,
}

/// The ledger's record of a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FileFacts {
    /// The repository.
    pub repository: String,
    /// `synced`, `skipped`, `failed`, `adopted` (found in the store, not yet compared) or `damaged`
    /// (the store differs from the ledger).
    pub status: &'static str,
    /// The last error, or the reason why the file was skipped.
    pub detail: Option<String>,
    /// The blob that is indexed; `None` if none is.
    pub blob_sha: Option<GitSha>,
    /// The commit at which it was written.
    pub commit: Option<GitSha>,
    /// When it was written (UTC).
    pub synced_at: Option<DateTime<Utc>>,
    /// The number of its chunks in the index.
    pub chunks: u64,
    /// The place that holds the chunks.
    pub place: Option<String>,
    /// The parts of the recipe that the chunks were made with; `None` if unknown.
    pub recipe: Option<Value>,
    /// Intents that an interrupted run left open; the next run closes them.
    pub open_intents: u64,
}
