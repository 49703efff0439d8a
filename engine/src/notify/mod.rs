//! Telling people what a run did. A failing notifier never fails a run.

mod config;
mod post;
pub mod slack;
mod summary;
pub mod webhook;
mod when;

use async_trait::async_trait;

use crate::model::{ProjectReport, Report, StageResult};

pub use config::NotifierConfig;
pub use post::PostNotifier;
pub use when::{When, wants};

/// Sends a project's part of a finished run to somebody.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// The stage's name in the file.
    fn stage(&self) -> &str;

    /// When it wants to be called.
    fn on(&self) -> &[When];

    /// Sends; retries what is transient. Called at most once for a project and a run. `page`: the address of the run's
    /// page in the console.
    async fn send(&self, report: &Report, project: &ProjectReport, page: Option<&str>) -> StageResult<()>;
}
