//! What a run did: the one value that summary, exit code, history, API and notifiers show.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::SkipReason;

/// How a run, or a project in it, ended. Ordered: the worst wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything declared is indexed (exit 0).
    Done,
    /// It came to its end, but something is missing or was withheld (exit 3).
    Partial,
    /// It ended early (exit 1).
    Failed,
    /// It was interrupted (exit 130).
    Interrupted,
}

impl Outcome {
    /// As reports, metrics and people name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// One run over one or more projects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The run's id: sortable, unique in the ledger.
    pub run: String,
    /// What started it: `apply`, `start`, `schedule`, `push`, `api`, `edit`, `retry`.
    pub trigger: String,
    /// When it started (UTC).
    pub started_at: DateTime<Utc>,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The worst outcome of its projects.
    pub outcome: Outcome,
    /// One entry for each project that took part, in the order of the file.
    pub projects: Vec<ProjectReport>,
}

/// One project's part of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProjectReport {
    /// The project's name.
    pub project: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How much was done.
    pub counts: Counts,
    /// Files not indexed, by reason; sorted.
    pub skipped: Vec<SkipCount>,
    /// What failed; the first 100.
    pub failures: Vec<Failure>,
    /// The error that ended the project early, with its remedy.
    pub error: Option<Failure>,
    /// Seconds that the service asked to wait, where that ended the project early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// What a guard withheld, and how to release it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<Withheld>,
    /// What a person should know: orphans, renamed repositories.
    pub notes: Vec<String>,
}

/// What a guard withheld in a project's run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withheld {
    /// The guard.
    pub guard: GuardKind,
    /// How much: vectors that were not deleted, or texts that were not embedded.
    pub amount: u64,
    /// What was withheld, why, and how to allow it.
    pub message: String,
}

/// The guards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GuardKind {
    /// Withholds removals beyond `max_delete_ratio`.
    Deletion,
    /// Withholds embeddings beyond `max_new_texts_ratio` or `max_cost`.
    Spending,
}

impl GuardKind {
    /// As metrics and people name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deletion => "deletion",
            Self::Spending => "spending",
        }
    }
}

/// How much was done. All counts are of this run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Repositories selected.
    pub repositories: u64,
    /// Of these, found unchanged without asking for their tree.
    pub repositories_unchanged: u64,
    /// Files selected in the trees that were read.
    pub files: u64,
    /// Files newly indexed.
    pub files_added: u64,
    /// Files indexed anew.
    pub files_changed: u64,
    /// Files that took the place of a removed one with the same content.
    pub files_moved: u64,
    /// Files removed from the index, without those whose content moved.
    pub files_removed: u64,
    /// Files that were as recorded.
    pub files_unchanged: u64,
    /// Files that failed.
    pub files_failed: u64,
    /// Files skipped.
    pub files_skipped: u64,
    /// Chunks of the files processed.
    pub chunks: u64,
    /// Texts sent to the embedder.
    pub texts_embedded: u64,
    /// Texts whose vector came from the cache (or from an equal text in flight).
    pub texts_cached: u64,
    /// Tokens of the texts sent, as the service counted them (else as we did).
    pub tokens: u64,
    /// Vectors written.
    pub vectors_written: u64,
    /// Vectors deleted.
    pub vectors_deleted: u64,
    /// Vectors whose deletion the guard withheld.
    pub vectors_withheld: u64,
    /// Files that were not written because the spending guard withheld their texts.
    pub files_withheld: u64,
    /// Price of `tokens`, in the currency of `price_per_million_tokens`.
    pub price: f64,
}

/// How many files were skipped for a reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkipCount {
    /// The reason.
    pub reason: SkipReason,
    /// How many files; of encoded data those that are indexed without it, too.
    pub files: u64,
    /// The first few of their paths, `repository:path`; of encoded data with the line,
    /// `repository:path:line`.
    pub examples: Vec<String>,
}

/// Something that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stage at fault, by its name in the file.
    pub stage: String,
    /// The repository, where it concerns one.
    pub repository: Option<String>,
    /// The file, where it concerns one.
    pub path: Option<String>,
    /// What happened, in one line.
    pub error: String,
    /// What to do about it.
    pub hint: Option<String>,
}
