//! Projects and the places of their vectors.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::fence::Fence;
use super::ids::FileIds;
use crate::model::{Fingerprint, Place, StageResult};

/// Projects and places.
#[async_trait]
pub trait Projects {
    /// How a project stands; `None`: it never ran.
    async fn project(&self, project: &str, place: &Place) -> StageResult<Option<ProjectState>>;

    /// All recorded projects, by name.
    async fn projects(&self) -> StageResult<Vec<RecordedProject>>;

    /// Records a project as it is declared, and the target that its runs write to from now on: its place, and
    /// the fingerprint of what decides, besides the trees, what is written there (`recipe`).
    async fn enter_project(
        &self,
        fence: Fence,
        project: &ProjectRow,
        place: &Place,
        recipe: &Fingerprint,
        now: DateTime<Utc>,
    ) -> StageResult<()>;

    /// Records what a run of the project to a place came to. If everything that the project selects is done, the
    /// target becomes the live one, and those of other places are retired.
    async fn finish_project(
        &self,
        fence: Fence,
        project: &str,
        place: &Place,
        end: ProjectEnd,
        now: DateTime<Utc>,
    ) -> StageResult<()>;

    /// Deletes a project of which the stores hold nothing any more; returns the number of its files.
    async fn remove_project(&self, fence: Fence, project: &str) -> StageResult<u64>;

    /// Records what a place holds of a project, and that the place is known, whole.
    ///
    /// A file without a row gets one with the status `adopted`: its chunks are there, but whether they are those
    /// of its content is not known yet. For a file with a row (in another place) the ids become leftovers of
    /// this place: the next write replaces or deletes them.
    async fn adopt(
        &self,
        fence: Fence,
        project: &str,
        place: &Place,
        records: Vec<AdoptedRecord>,
        now: DateTime<Utc>,
    ) -> StageResult<()>;

    /// The projects that hold something in a place, or held it before they were removed from the configuration.
    async fn owners_of_place(&self, place: &Place) -> StageResult<Vec<String>>;

    /// What the state believes to be in a place. `None`: what the place held of the project was never recorded,
    /// so nothing can be said.
    async fn believed(&self, project: &str, place: &Place) -> StageResult<Option<Believed>>;
}

/// A project as declared in `reposync.toml`, for the `projects` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectRow {
    /// Its name.
    pub name: String,
    /// The organisation or user.
    pub organization: Option<String>,
    /// The keyword.
    pub filter_keyword: Option<String>,
    /// The namespace.
    pub namespace: String,
    /// Whether it is enabled.
    pub enabled: bool,
    /// The extensions; none: every text file.
    pub allowed_extensions: Option<Vec<String>>,
    /// The exclusions.
    pub exclude_patterns: Vec<String>,
}

/// How a project stands; the default is that of one that never ran.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectState {
    /// True if what the place held of it is recorded.
    pub adopted: bool,
    /// Vectors that the index holds for it, in all places.
    pub vectors: u64,
    /// True if a run of it came to its end, with nothing withheld from embedding.
    pub first_run_over: bool,
    /// Fingerprint of the selection of the last finished run.
    pub selection: Option<String>,
}

/// A recorded project, declared or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedProject {
    /// Its name.
    pub name: String,
    /// Vectors that the index holds for it, in all places.
    pub vectors: u64,
}

/// What a run of a project came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectEnd {
    /// Fingerprint of the selection, if everything that it selects is done.
    pub selection: Option<String>,
    /// True if nothing was withheld from embedding: the first such run is recorded.
    pub first_run_over: bool,
}

/// A record of a project that was found in a place.
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

/// What the state believes to be in a place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Believed {
    /// Recorded ids of all projects.
    pub recorded: Vec<String>,
    /// Ids of unknown state, of all projects: open intents and leftovers.
    pub open: Vec<String>,
    /// The project's files in the place.
    pub files: Vec<FileIds>,
}
