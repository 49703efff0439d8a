//! Telling people what a run did. A failing notifier never fails a run.

mod post;
mod settings;
mod slack;
mod webhook;

use async_trait::async_trait;

use crate::model::{Outcome, ProjectReport, Report, StageResult};

pub use post::PostNotifier;
pub use settings::{SlackSettings, WebhookSettings, When};
pub use slack::slack_notifier;
pub use webhook::webhook_notifier;

/// Sends a project's part of a finished run to somebody.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// The stage's name in the file.
    fn stage(&self) -> &str;

    /// When it wants to be called.
    fn on(&self) -> &[When];

    /// Sends; retries what is transient. Called at most once for a project and a run.
    async fn send(&self, report: &Report, project: &ProjectReport) -> StageResult<()>;
}

/// True when a notifier that speaks on `on` should hear of this.
pub fn wants(on: &[When], project: &ProjectReport) -> bool {
    let counts = &project.counts;
    let changed = counts.vectors_written + counts.vectors_deleted + counts.files_removed > 0;
    let failed = project.outcome != Outcome::Done;
    on.iter().any(|when| match when {
        When::Always => true,
        When::Changes => changed,
        When::Failure => failed,
    })
}
