//! The run's report as JSON, to any URL.

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::model::{ErrorKind, EventSink, ProjectReport, Report, StageError, StageResult};
use crate::net::RetryPolicy;

use super::post::Webhook;
use super::{Notifier, WebhookSettings, When};

/// Posts reports. The body is the [`Report`] of the run, its `projects` holding the one project
/// that the call is about.
#[derive(Debug)]
pub struct WebhookNotifier {
    webhook: Webhook,
    on: Vec<When>,
}

impl WebhookNotifier {
    /// Nothing is sent before the first report.
    pub fn new(
        stage: impl Into<String>,
        settings: &WebhookSettings,
        cancel: CancellationToken,
        events: EventSink,
    ) -> StageResult<Self> {
        let webhook = Webhook::new(stage.into(), &settings.url, None, cancel, events)?;
        Ok(Self { webhook, on: settings.on.clone() })
    }

    /// With another patience.
    #[must_use]
    pub fn with_patience(mut self, policy: RetryPolicy) -> Self {
        self.webhook.policy = policy;
        self
    }
}

#[async_trait]
impl Notifier for WebhookNotifier {
    fn stage(&self) -> &str {
        &self.webhook.stage
    }

    fn on(&self) -> &[When] {
        &self.on
    }

    async fn send(&self, report: &Report, project: &ProjectReport) -> StageResult<()> {
        let part = Report {
            run: report.run.clone(),
            trigger: report.trigger.clone(),
            started_at: report.started_at,
            seconds: report.seconds,
            outcome: project.outcome,
            projects: vec![project.clone()],
        };
        let body = serde_json::to_vec(&part).map_err(|error| {
            StageError::new(self.stage(), ErrorKind::Bug, "cannot write the report").caused_by(error)
        })?;
        self.webhook.post(body).await
    }
}
