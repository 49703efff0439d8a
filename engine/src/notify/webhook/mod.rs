//! The run's report as JSON, to any URL.

mod config;
mod settings;

pub use settings::WebhookSettings;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::model::{EventSink, ProjectReport, Report, StageResult};

use super::post::{Post, PostNotifier};

/// Posts reports. The body is the [`Report`] of the run, its `projects` holding the one project
/// that the call is about, with the `url` of its page if that is known; with a `secret` it is signed. Nothing is sent before the first report.
pub fn webhook_notifier(
    stage: impl Into<String>,
    settings: &WebhookSettings,
    cancel: CancellationToken,
    events: EventSink,
) -> StageResult<PostNotifier> {
    let post = Post {
        url: &settings.url,
        secret: settings.secret.as_ref(),
        on: &settings.on,
        message,
        requests_per_minute: None,
    };
    PostNotifier::new(stage, &post, cancel, events)
}

fn message(report: &Report, project: &ProjectReport, page: Option<&str>) -> Value {
    let part = Report {
        run: report.run.clone(),
        trigger: report.trigger.clone(),
        started_at: report.started_at,
        seconds: report.seconds,
        outcome: project.outcome,
        projects: vec![project.clone()],
    };
    let mut message = serde_json::to_value(part).expect("plain data has a JSON form");
    if let Some(page) = page {
        message["url"] = page.into();
    }
    message
}
