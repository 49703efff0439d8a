//! What a kind of source declares in addition to its settings.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Limits, Source, Webhook, WrittenRepository};
use crate::model::{RepoRef, StageResult};
use crate::settings::Objection;
use crate::stage::{AnyStageConfig, StageContext};

/// What a source is built with.
#[derive(Clone)]
pub struct SourceContext {
    /// What every stage gets.
    pub stage: StageContext,
    /// Bounds on one repository.
    pub limits: Limits,
    /// Maximum size of a file that is indexed.
    pub max_file_bytes: u64,
    /// Folder for what the source stores on disk between runs. Losing it costs time, never correctness.
    pub data: PathBuf,
}

/// The settings of a source.
pub trait SourceConfig: AnyStageConfig {
    /// Builds the source. Asks nothing of a service yet.
    fn build(&self, context: SourceContext) -> StageResult<Arc<dyn Source>>;

    /// True if repositories are folders of this machine: then a search compares them with what is indexed.
    fn is_local(&self) -> bool {
        false
    }

    /// How the kind's host delivers webhooks, at `/webhooks/` and the value of `kind`; `None` if it
    /// does not.
    fn webhook() -> Option<&'static dyn Webhook>
    where
        Self: Sized,
    {
        None
    }

    /// Checks the value of `organization`. Sources that list no owner's repositories refuse it.
    fn check_owner(&self, owner: &str) -> Result<(), Objection>;

    /// What is wrong with a project that selects nothing.
    fn nothing_selected(&self) -> Objection;

    /// Resolves an entry of `repositories`. `folder` is that of the file.
    fn repository(&self, written: &WrittenRepository, folder: &Path) -> Result<RepoRef, Objection>;

    /// The form in which names are compared: two of one form in a project are a problem.
    fn comparable(&self, name: &str) -> String;

    /// The key that names the place of a repository in a table: `{ path = "…", name = "…" }`.
    fn repository_key(&self) -> &'static str {
        "path"
    }

    /// What to do about two repositories of one name.
    fn on_same_name(&self) -> &'static str;
}
