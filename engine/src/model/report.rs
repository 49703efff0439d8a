//! The report of a run: the value that summary, exit code, history, API and notifiers are made
//! from.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::SkipReason;

/// The outcome of a run, or of a project in it. Ordered by severity: a run has its projects' worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything declared is indexed (exit 0).
    Done,
    /// The run completed, but something failed or was withheld (exit 3).
    Partial,
    /// The run failed before it was complete (exit 1).
    Failed,
    /// It was interrupted (exit 130).
    Interrupted,
}

impl Outcome {
    /// The name in reports, metrics and messages.
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Report {
    /// The run's id: sortable by time, unique in the ledger.
    pub run: String,
    /// What started it: `apply`, `start`, `schedule`, `push`, `api`, `edit`, `plan`, `retry`.
    pub trigger: String,
    /// When it started (UTC).
    #[schema(value_type = String, format = DateTime)]
    pub started_at: DateTime<Utc>,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The worst outcome of its projects.
    pub outcome: Outcome,
    /// One entry per project in the run, in the order of the file.
    pub projects: Vec<ProjectReport>,
}

/// One project's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProjectReport {
    /// The project's name.
    pub project: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How much was done.
    pub counts: Counts,
    /// Numbers of files that were not indexed, sorted by reason.
    pub skipped: Vec<SkipCount>,
    /// The first 100 failures of items.
    pub failures: Vec<Failure>,
    /// The error that failed the project, with a hint.
    pub error: Option<Failure>,
    /// Seconds that the service asked to wait, if that failed the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// What a guard withheld, and how to release it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<Withheld>,
    /// Notices for the user: orphans, renamed repositories.
    pub notes: Vec<String>,
    /// How well the golden questions find their files after this run; `None` if they were not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search_quality: Option<SearchQuality>,
}

/// How well the golden questions of a project find their files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SearchQuality {
    /// The number of questions.
    pub questions: usize,
    /// The mean reciprocal rank, from 0 to 1; `None` if it could not be measured.
    pub mrr: Option<f64>,
    /// `min_mrr` of the project.
    pub min_mrr: f64,
    /// True if the mean reciprocal rank is lower than `min_mrr`.
    pub below: bool,
    /// Why it could not be measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl SearchQuality {
    /// True if a person has to look at it.
    pub fn is_bad(&self) -> bool {
        self.below || self.error.is_some()
    }

    /// The result in one line.
    pub fn message(&self) -> String {
        let questions = match self.questions {
            1 => "1 golden question".to_owned(),
            n => format!("{n} golden questions"),
        };
        match (self.mrr, &self.error) {
            (Some(mrr), None) if self.below => format!(
                "MRR {mrr:.3} of {questions} is below `min_mrr` {}; `reposync eval` shows which find less",
                self.min_mrr
            ),
            (Some(mrr), None) => format!("MRR {mrr:.3} of {questions}"),
            (_, error) => {
                format!("the golden questions were not asked: {}", error.as_deref().unwrap_or_default())
            }
        }
    }
}

/// Work that a guard withheld from a project's run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Withheld {
    /// The guard.
    pub guard: GuardKind,
    /// The number of vectors that were not deleted, or of texts that were not embedded.
    pub amount: u64,
    /// What was withheld, why, and how to allow it.
    pub message: String,
}

/// A guard that can withhold work from a run.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum GuardKind {
    /// Withholds removals beyond `max_delete_ratio`.
    Deletion,
    /// Withholds embeddings beyond `max_new_texts_ratio` or `max_cost`.
    Spending,
}

impl GuardKind {
    /// The name in metrics and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deletion => "deletion",
            Self::Spending => "spending",
        }
    }
}

/// Counts of the work done in this run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Counts {
    /// Repositories selected.
    pub repositories: u64,
    /// Of these, repositories that the listing showed as unchanged, so their tree was not fetched.
    pub repositories_unchanged: u64,
    /// Files selected in the trees that were read.
    pub files: u64,
    /// Files newly indexed.
    pub files_added: u64,
    /// Files that were indexed again.
    pub files_changed: u64,
    /// Files that reused the chunks of a removed file with the same content.
    pub files_moved: u64,
    /// Files removed from the index, except those whose content moved.
    pub files_removed: u64,
    /// Files that match the ledger.
    pub files_unchanged: u64,
    /// Files that failed.
    pub files_failed: u64,
    /// Files skipped.
    pub files_skipped: u64,
    /// Chunks of the files processed.
    pub chunks: u64,
    /// Texts sent to the embedder. Of one that is free, every text whose vector was needed.
    pub texts_embedded: u64,
    /// Texts whose vector came from the cache or from an identical text of the same run.
    pub texts_cached: u64,
    /// Tokens of the texts sent, as the service reports them, otherwise estimated.
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

impl Counts {
    /// Adds those of a part of the work.
    pub fn add(&mut self, more: &Self) {
        // All fields by name, so that a new one is not forgotten.
        let Self {
            repositories,
            repositories_unchanged,
            files,
            files_added,
            files_changed,
            files_moved,
            files_removed,
            files_unchanged,
            files_failed,
            files_skipped,
            chunks,
            texts_embedded,
            texts_cached,
            tokens,
            vectors_written,
            vectors_deleted,
            vectors_withheld,
            files_withheld,
            price,
        } = more;
        self.repositories += repositories;
        self.repositories_unchanged += repositories_unchanged;
        self.files += files;
        self.files_added += files_added;
        self.files_changed += files_changed;
        self.files_moved += files_moved;
        self.files_removed += files_removed;
        self.files_unchanged += files_unchanged;
        self.files_failed += files_failed;
        self.files_skipped += files_skipped;
        self.chunks += chunks;
        self.texts_embedded += texts_embedded;
        self.texts_cached += texts_cached;
        self.tokens += tokens;
        self.vectors_written += vectors_written;
        self.vectors_deleted += vectors_deleted;
        self.vectors_withheld += vectors_withheld;
        self.files_withheld += files_withheld;
        self.price += price;
    }
}

/// The number of files that were skipped for a reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SkipCount {
    /// The reason.
    pub reason: SkipReason,
    /// The number of files. For encoded data this includes files that are indexed without that
    /// data.
    pub files: u64,
    /// The first few of their paths, as `repository:path`; for encoded data with the line, as
    /// `repository:path:line`.
    pub examples: Vec<String>,
}

/// One failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Failure {
    /// The name of the stage that failed.
    pub stage: String,
    /// The repository; `None` if the failure concerns none.
    pub repository: Option<String>,
    /// The path of the file; `None` if the failure concerns none.
    pub path: Option<String>,
    /// What happened, in one line.
    pub error: String,
    /// What the user can do about it.
    pub hint: Option<String>,
}
