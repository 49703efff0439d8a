//! Posting JSON to a webhook: retries what passes, and never shows the URL, which is a secret.
//! What is said is the affair of [`super::slack`] and [`super::webhook`].

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;
use sha2::Sha256;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{Notifier, When};
use crate::model::{
    ErrorKind, Event, EventSink, ProjectReport, Report, Secret, ServiceKind, StageError, StageResult,
};
use crate::net::{
    HttpClient, Limiter, Patience, describe_transport_error, endpoint, http_client, read_body, retry,
    retry_after,
};

/// What is read of a refusal: a few lines are repeated of it.
const MOST_READ: usize = 64 << 10;

/// Characters of an answer that an error repeats: services answer with one word.
const LONGEST_ANSWER: usize = 100;

/// Header with the HMAC of the body, in the form of GitHub's `X-Hub-Signature-256`.
const SIGNATURE: &str = "x-reposync-signature-256";

/// A shorter part of a URL is no secret: anybody could guess it.
const SHORTEST_SECRET: usize = 6;

/// What is posted about a project's part of a run.
pub(super) type Message = fn(&Report, &ProjectReport) -> Value;

/// Posts a message to a webhook.
#[derive(Debug)]
pub struct PostNotifier {
    stage: String,
    on: Vec<When>,
    message: Message,
    http: HttpClient,
    url: Secret,
    secret: Option<Secret>,
    host: String,
    limiter: Arc<Limiter>,
    cancel: CancellationToken,
    events: EventSink,
    patience: Patience,
}

/// Where to post what, and when.
pub(super) struct Post<'a> {
    pub(super) url: &'a Secret,
    /// Signs the body, where there is one.
    pub(super) secret: Option<&'a Secret>,
    pub(super) on: &'a [When],
    pub(super) message: Message,
    /// What the service allows, where it says so.
    pub(super) requests_per_minute: Option<u32>,
}

impl PostNotifier {
    pub(super) fn new(
        stage: impl Into<String>,
        post: &Post<'_>,
        cancel: CancellationToken,
        events: EventSink,
    ) -> StageResult<Self> {
        let stage = stage.into();
        let parsed = parse(&stage, post.url)?;
        let host = match (parsed.host_str(), parsed.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        Ok(Self {
            http: http_client(&stage)?,
            url: Secret::new(parsed.as_str()),
            secret: post.secret.cloned(),
            stage,
            on: post.on.to_vec(),
            message: post.message,
            host,
            limiter: Limiter::new(1, post.requests_per_minute, None),
            cancel,
            events,
            patience: Patience::default(),
        })
    }

    /// With another patience than the usual.
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    async fn once(&self, body: Bytes) -> StageResult<()> {
        let permit = tokio::select! {
            permit = self.limiter.acquire(0) => permit,
            () = self.cancel.cancelled() => return Err(StageError::cancelled(&self.stage)),
        };
        let started = Instant::now();
        let result = tokio::select! {
            result = tokio::time::timeout(self.patience.answer, self.post(body)) => result.unwrap_or_else(|_| {
                Err(StageError::transient(&self.stage, format!("no answer in time from {}", self.host)))
            }),
            () = self.cancel.cancelled() => return Err(StageError::cancelled(&self.stage)),
        };
        self.events.emit(Event::Call {
            service: ServiceKind::Notifier,
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

    async fn post(&self, body: Bytes) -> StageResult<()> {
        let mut request = self.http.post(self.url.expose()).header(CONTENT_TYPE, "application/json");
        if let Some(secret) = &self.secret {
            request = request.header(SIGNATURE, signature(secret, &body));
        }
        let response = request
            .body(body)
            .send()
            .await
            .map_err(|error| describe_transport_error(&self.stage, &self.host, error))?;
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

#[async_trait]
impl Notifier for PostNotifier {
    fn stage(&self) -> &str {
        &self.stage
    }

    fn on(&self) -> &[When] {
        &self.on
    }

    async fn send(&self, report: &Report, project: &ProjectReport) -> StageResult<()> {
        let body = Bytes::from((self.message)(report, project).to_string());
        retry(&self.patience.retry, &self.cancel, &self.events, || self.once(body.clone())).await
    }
}

/// `sha256=` and the hex HMAC-SHA-256 of the body.
fn signature(secret: &Secret, body: &[u8]) -> String {
    let mac =
        Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes a key of any length");
    format!("sha256={}", hex::encode(mac.chain_update(body).finalize().into_bytes()))
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

/// The answer in one line, if it is short text and not a page; never with a part of the URL in it
/// that could be the secret.
fn said(answer: &str, url: &Secret) -> Option<String> {
    let line = answer.split_whitespace().collect::<Vec<_>>().join(" ");
    let fits = !line.is_empty() && line.chars().count() <= LONGEST_ANSWER;
    let plain = !line.contains(['<', '\u{1b}']);
    let mut parts = url.expose().split(['/', ':', '@', '?', '&', '=', '#']);
    let discreet = !parts.any(|part| part.len() >= SHORTEST_SECRET && line.contains(part));
    (fits && plain && discreet).then_some(line)
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
    fn a_body_is_signed_as_github_signs_its_own() {
        // The example of GitHub's documentation on validating deliveries.
        let secret = Secret::new("It's a Secret to Everybody");
        let expected = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(signature(&secret, b"Hello, World!"), expected);
    }

    #[test]
    fn answers_are_repeated_with_care() {
        let url = Secret::new("https://user:password@h/in/secret?key=other-secret");
        assert_eq!(said("invalid_payload\n", &url).as_deref(), Some("invalid_payload"));
        let whole = format!("no {} here", url.expose());
        for hidden in [
            "",
            "<html>",
            &whole,
            "no route /in/secret",
            "key other-secret expired",
            "not password",
            &"x".repeat(500),
        ] {
            assert_eq!(said(hidden, &url), None);
        }
    }
}
