//! Posting JSON to a webhook: retries what passes, and never shows the URL, which is a secret.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::model::{ErrorKind, Event, EventSink, Secret, StageError, StageResult};
use crate::net::{
    HttpClient, Limiter, RetryPolicy, describe_transport_error, endpoint, http_client, read_body, retry,
    retry_after,
};

/// What is read of a refusal: a few lines are repeated of it.
const MOST_READ: usize = 64 << 10;

/// Characters of an answer that an error repeats: services answer with one word.
const LONGEST_ANSWER: usize = 100;
/// Time for a whole call.
const DEADLINE: Duration = Duration::from_secs(30);

/// A webhook.
#[derive(Debug)]
pub(super) struct Webhook {
    pub(super) stage: String,
    http: HttpClient,
    url: Secret,
    host: String,
    limiter: Arc<Limiter>,
    cancel: CancellationToken,
    events: EventSink,
    pub(super) policy: RetryPolicy,
}

impl Webhook {
    /// `requests_per_minute` is what the service allows, where it says so.
    pub(super) fn new(
        stage: String,
        url: &Secret,
        requests_per_minute: Option<u32>,
        cancel: CancellationToken,
        events: EventSink,
    ) -> StageResult<Self> {
        let parsed = parse(&stage, url)?;
        let host = match (parsed.host_str(), parsed.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        Ok(Self {
            http: http_client(&stage)?,
            url: Secret::new(parsed.as_str()),
            stage,
            host,
            limiter: Limiter::new(1, requests_per_minute, None),
            cancel,
            events,
            policy: RetryPolicy::default(),
        })
    }

    /// Posts until it is taken, refused for good, or the tries are used up.
    pub(super) async fn post(&self, body: impl Into<Bytes>) -> StageResult<()> {
        let body = body.into();
        retry(&self.policy, &self.cancel, &self.events, || self.once(body.clone())).await
    }

    async fn once(&self, body: Bytes) -> StageResult<()> {
        let permit = self.limiter.acquire(0).await;
        let started = Instant::now();
        let result = tokio::select! {
            result = tokio::time::timeout(DEADLINE, self.send(body)) => result.unwrap_or_else(|_| {
                Err(StageError::transient(&self.stage, format!("no answer in time from {}", self.host)))
            }),
            () = self.cancel.cancelled() => return Err(StageError::cancelled(&self.stage)),
        };
        self.events.emit(Event::Call {
            stage: self.stage.clone(),
            operation: "notify",
            items: 1,
            tokens: 0,
            seconds: started.elapsed().as_secs_f64(),
            ok: result.is_ok(),
            error: result.is_err().then_some("webhook"),
        });
        if result.is_ok() {
            permit.succeeded();
        }
        result
    }

    async fn send(&self, body: Bytes) -> StageResult<()> {
        let sent = self.http.post(self.url.expose()).header(CONTENT_TYPE, "application/json").body(body);
        let response =
            sent.send().await.map_err(|error| describe_transport_error(&self.stage, &self.host, error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let wait = retry_after(response.headers());
        let answer = read_body(response, MOST_READ).await.ok().flatten().unwrap_or_default();
        let message = match said(&String::from_utf8_lossy(&answer), &self.url) {
            Some(answer) => format!("{} answers {}: {answer}", self.host, status.as_u16()),
            None => format!("{} answers {status}", self.host),
        };
        Err(match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                StageError::new(&self.stage, ErrorKind::Transient { retry_after: wait }, message)
            }
            _ if status.is_server_error() => {
                StageError::new(&self.stage, ErrorKind::Transient { retry_after: wait }, message)
            }
            _ => StageError::misconfigured(&self.stage, message)
                .hint("check the webhook's URL; it may have been removed, or its channel archived"),
        })
    }
}

/// The URL as written, without the slash that [`endpoint`] adds: webhooks are whole addresses.
fn parse(stage: &str, written: &Secret) -> StageResult<Url> {
    let mut url = endpoint(stage, written.expose())?;
    let path_as_written = written.expose().split(['?', '#']).next().unwrap_or_default();
    if !path_as_written.ends_with('/') {
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
    }
    Ok(url)
}

/// The answer in one line, if it is short text and not a page; never with the URL in it.
fn said(answer: &str, url: &Secret) -> Option<String> {
    let line = answer.split_whitespace().collect::<Vec<_>>().join(" ");
    let fits = !line.is_empty() && line.chars().count() <= LONGEST_ANSWER;
    let plain = !line.contains(['<', '\u{1b}']) && !line.contains(url.expose());
    (fits && plain).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_written() {
        for (written, sent) in [
            ("https://hooks.example/services/a/b", "https://hooks.example/services/a/b"),
            ("https://hooks.example/in/", "https://hooks.example/in/"),
            ("https://hooks.example/in?key=1", "https://hooks.example/in?key=1"),
            ("https://hooks.example", "https://hooks.example/"),
            ("hooks.example/a", "https://hooks.example/a"),
            ("http://127.0.0.1:9/x", "http://127.0.0.1:9/x"),
        ] {
            assert_eq!(parse("s", &Secret::new(written)).expect(written).as_str(), sent);
        }
        for bad in ["http://hooks.example/a", "", "nonsense with spaces"] {
            let error = parse("s", &Secret::new(bad)).expect_err(bad);
            assert!(bad.is_empty() || !format!("{error:?}").contains(bad), "{error:?}");
        }
    }

    #[test]
    fn answers_are_repeated_with_care() {
        let url = Secret::new("https://h/secret");
        assert_eq!(said("invalid_payload\n", &url).as_deref(), Some("invalid_payload"));
        for hidden in ["", "<html>", "no https://h/secret here", &"x".repeat(500)] {
            assert_eq!(said(hidden, &url), None);
        }
    }
}
