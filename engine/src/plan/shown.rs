//! A plan as it is printed, saved (`plan --out`) and compared again (`apply FILE`).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::{Failure, Fingerprint, GitSha, SkipCount, Withheld};

/// What `apply` would do now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Plan {
    /// The form of this document: 1.
    pub version: u32,
    /// When it was made (UTC).
    #[schema(value_type = String, format = DateTime)]
    pub created_at: DateTime<Utc>,
    /// Fingerprint of the plan's inputs and files: equal plans have equal fingerprints.
    #[schema(value_type = String)]
    pub basis: Fingerprint,
    /// True where chunks, texts and tokens were counted on the contents, false where they were
    /// estimated from sizes.
    pub exact: bool,
    /// One entry for each selected project, in the order of the file.
    pub projects: Vec<ProjectPlan>,
}

/// One project's part of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProjectPlan {
    /// The project.
    pub project: String,
    /// True where the file does not declare the project any more.
    #[serde(default)]
    pub orphan: bool,
    /// Repositories with changes; unchanged ones are only counted.
    pub repositories: Vec<RepositoryPlan>,
    /// Number of repositories without changes.
    pub repositories_unchanged: u64,
    /// The bill.
    pub estimate: Estimate,
    /// Files that will not be indexed, by reason.
    pub skipped: Vec<SkipCount>,
    /// Vectors whose deletion the guard would withhold.
    pub withheld: u64,
    /// What the guards would withhold, and how to release it.
    #[serde(default)]
    pub guards: Vec<Withheld>,
    /// Keys and tokens that the index would hold, under `secrets = "off"`, in the files whose
    /// contents were read: the first hundred.
    #[serde(default)]
    pub secrets: Vec<SecretFound>,
    /// How many there are.
    #[serde(default)]
    pub secrets_found: u64,
    /// Orphans, renames, a changed component: what a person should know.
    pub notes: Vec<String>,
    /// What is refused or missing already now.
    pub failures: Vec<Failure>,
    /// Why nothing can be done for this project.
    pub error: Option<Failure>,
}

impl ProjectPlan {
    /// A plan without changes.
    pub fn of(project: &str) -> Self {
        Self {
            project: project.to_owned(),
            orphan: false,
            repositories: Vec::new(),
            repositories_unchanged: 0,
            estimate: Estimate::default(),
            skipped: Vec::new(),
            withheld: 0,
            guards: Vec::new(),
            secrets: Vec::new(),
            secrets_found: 0,
            notes: Vec::new(),
            failures: Vec::new(),
            error: None,
        }
    }

    /// Whether anything leaves the index.
    pub fn removes(&self) -> bool {
        let files = self.repositories.iter().flat_map(|repository| &repository.files);
        files.into_iter().any(|file| file.action == Action::Remove)
    }
}

impl RepositoryPlan {
    /// A repository whose files leave the index.
    pub fn leaving(repository: &str) -> Self {
        let repository = repository.to_owned();
        Self { repository, commit: None, previous: None, files: Vec::new(), unchanged: 0 }
    }
}

/// The position of a key or token. The value itself is never shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SecretFound {
    /// The repository.
    pub repository: String,
    /// The file.
    pub path: String,
    /// The line, from 1.
    pub line: u32,
    /// The rule that found it.
    pub rule: String,
}

/// One repository's part of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RepositoryPlan {
    /// The repository's name.
    pub repository: String,
    /// The commit to index; none for a repository that leaves the index.
    #[schema(value_type = Option<String>)]
    pub commit: Option<GitSha>,
    /// The commit indexed before.
    #[schema(value_type = Option<String>)]
    pub previous: Option<GitSha>,
    /// The changes, sorted by path.
    pub files: Vec<FilePlan>,
    /// Files that are as recorded.
    pub unchanged: u64,
}

/// The change to one file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FilePlan {
    /// What.
    pub action: Action,
    /// The path.
    pub path: String,
    /// For a move: the path it comes from (`repository:path` where that is another repository).
    pub from: Option<String>,
    /// Why: `new`, `content`, `recipe: chunker changelog 0.2.0 -> 0.3.0`, `failed before`, …
    pub reason: String,
}

/// How the reason begins where the content is as it was and the recipe is not.
const RECIPE: &str = "recipe: ";

impl FilePlan {
    /// The reason where the recipe differs, and in what.
    pub fn recipe_reason(difference: &str) -> String {
        format!("{RECIPE}{difference}")
    }

    /// In what the recipe differs, where that is the reason.
    pub fn recipe_difference(&self) -> Option<&str> {
        self.reason.strip_prefix(RECIPE)
    }
}

/// The kind of change to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It enters the index: `+`.
    Add,
    /// It is indexed again: `~`.
    Change,
    /// It takes the place of a removed file with the same content: `>`.
    Move,
    /// It leaves the index: `-`.
    Remove,
    /// It would leave the index, but a guard keeps it: `!`.
    Withhold,
}

impl Action {
    /// The sign in front of the path.
    pub fn sign(self) -> char {
        match self {
            Self::Add => '+',
            Self::Change => '~',
            Self::Move => '>',
            Self::Remove => '-',
            Self::Withhold => '!',
        }
    }
}

/// What it will take.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Estimate {
    /// Chunks of the files to process.
    pub chunks: u64,
    /// Different texts to send to the embedder, after cache hits. Of an embedder that is free, every text whose
    /// vector is needed.
    pub texts: u64,
    /// Texts whose vector is in the cache, or equal to another text of the plan.
    pub texts_cached: u64,
    /// Tokens of the texts to send.
    pub tokens: u64,
    /// Price of the tokens, in the currency of `price_per_million_tokens`.
    pub price: f64,
    /// Requests to the embedder.
    pub requests: u64,
    /// Vectors to write.
    pub vectors_written: u64,
    /// Vectors to delete.
    pub vectors_deleted: u64,
}

impl Estimate {
    /// What was added since `before`, without price and requests.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            chunks: self.chunks - before.chunks,
            texts: self.texts - before.texts,
            texts_cached: self.texts_cached - before.texts_cached,
            tokens: self.tokens - before.tokens,
            vectors_written: self.vectors_written - before.vectors_written,
            vectors_deleted: self.vectors_deleted - before.vectors_deleted,
            ..Self::default()
        }
    }
}

impl Plan {
    /// True if no project has changes.
    pub fn is_empty(&self) -> bool {
        self.projects.iter().all(|project| project.repositories.iter().all(|repo| repo.files.is_empty()))
    }
}
