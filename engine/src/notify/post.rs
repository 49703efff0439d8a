//! Posting JSON to a webhook, whose URL is a secret and never shown.
//! [`super::slack`] and [`super::webhook`] write the messages.

use std::future::ready;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use sha2::Sha256;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{Notifier, When};
use crate::model::{
    Allowances, ErrorKind, EventSink, Fingerprint, ProjectReport, Report, Secret, ServiceKind, StageError,
    StageResult, register_secrets,
};
use crate::net::{
    Accepted, CallError, CallFailure, Classified, Limiter, Service, ServiceRequest, ServiceResponse,
    Timeouts, endpoint, http_client, one_line,
};

/// Longest text of an answer that an error repeats, in characters: services answer with one word.
const LONGEST_ANSWER: usize = 100;

/// Header with the HMAC of the body, in the form of GitHub's `X-Hub-Signature-256`.
const SIGNATURE: HeaderName = HeaderName::from_static("x-reposync-signature-256");

/// A shorter part of a URL is no secret: anybody could guess it.
const SHORTEST_SECRET: usize = 6;

/// What is posted about a project's part of a run, with the address of the run's page.
pub(super) type Message = fn(&Report, &ProjectReport, Option<&str>) -> Value;

/// Posts a message to a webhook.
pub struct PostNotifier {
    service: Service,
    on: Vec<When>,
    message: Message,
    url: Url,
    secret: Option<Secret>,
}

/// Where to post what, and when.
pub(super) struct Post<'a> {
    pub(super) url: &'a Secret,
    /// Key that signs the body; none: bodies are not signed.
    pub(super) secret: Option<&'a Secret>,
    pub(super) on: &'a [When],
    pub(super) message: Message,
    /// Messages that the service allows in a minute; none: it does not say.
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
        let url = parse(&stage, post.url)?;
        register_secrets([post.url.expose().to_owned()]);
        let http = Arc::new(http_client(&stage)?);
        let limiter = Limiter::new(1, post.requests_per_minute, None);
        Ok(Self {
            service: Service::new(ServiceKind::Notifier, stage, http, limiter, cancel, events),
            on: post.on.to_vec(),
            message: post.message,
            url,
            secret: post.secret.cloned(),
        })
    }

    /// Replaces the default time-outs and retries.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.service = self.service.with_timeouts(timeouts);
        self
    }

    /// Shares the limits of the webhook with other processes.
    #[must_use]
    pub fn with_allowances(mut self, allowances: Option<&Arc<dyn Allowances>>) -> Self {
        let key = Fingerprint::of(["webhook", self.url.as_str()]);
        self.service = self.service.sharing(allowances, key, None);
        self
    }

    fn request(&self, body: Bytes) -> ServiceRequest {
        let mut request = ServiceRequest::new("notify", Method::POST, self.url.clone());
        if let Some(secret) = &self.secret {
            request = request.header(SIGNATURE, signature(secret, &body));
        }
        ServiceRequest { reads_success: false, ..request.json(body) }
    }

    fn classify(&self, request: &ServiceRequest, response: &ServiceResponse) -> Classified<()> {
        let status = response.status;
        if status.is_success() {
            return Ok(Accepted::new(()));
        }
        let message = match repeatable(&String::from_utf8_lossy(&response.body), &self.url) {
            Some(answer) => format!("{} answers {}: {answer}", request.host, status.as_u16()),
            None => format!("{} answers {status}", request.host),
        };
        let stage = self.service.stage();
        let transient = ErrorKind::Transient { retry_after: response.retry_after() };
        Err(match status {
            StatusCode::TOO_MANY_REQUESTS => {
                CallError::new(CallFailure::RateLimit, StageError::new(stage, transient, message))
            }
            _ if status == StatusCode::REQUEST_TIMEOUT || status.is_server_error() => {
                CallError::new(CallFailure::Server, StageError::new(stage, transient, message))
            }
            _ => CallError::new(
                CallFailure::Refused,
                StageError::misconfigured(stage, message)
                    .hint("check the webhook's URL; it may have been removed, or its channel archived"),
            ),
        })
    }
}

#[async_trait]
impl Notifier for PostNotifier {
    fn stage(&self) -> &str {
        self.service.stage()
    }

    fn on(&self) -> &[When] {
        &self.on
    }

    async fn send(&self, report: &Report, project: &ProjectReport, page: Option<&str>) -> StageResult<()> {
        let body = Bytes::from((self.message)(report, project, page).to_string());
        let request = self.request(body);
        self.service.call(&request, |response| ready(self.classify(&request, &response))).await
    }
}

impl std::fmt::Debug for PostNotifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostNotifier").field("stage", &self.service.stage()).finish_non_exhaustive()
    }
}

/// `sha256=` and the hex HMAC-SHA-256 of the body.
fn signature(secret: &Secret, body: &[u8]) -> HeaderValue {
    let mac =
        Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes a key of any length");
    let signature = hex::encode(mac.chain_update(body).finalize().into_bytes());
    HeaderValue::from_str(&format!("sha256={signature}")).expect("hex digits are a header")
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

/// The answer in one line, where it is short text and not a page, and holds no part of the URL that
/// could be the secret.
fn repeatable(answer: &str, url: &Url) -> Option<String> {
    let line = one_line(answer, LONGEST_ANSWER);
    let fits = !line.is_empty() && line.chars().count() <= LONGEST_ANSWER;
    let mut parts = url.as_str().split(['/', ':', '@', '?', '&', '=', '#']);
    let discreet = !parts.any(|part| part.len() >= SHORTEST_SECRET && line.contains(part));
    (fits && discreet && !line.contains('<')).then_some(line)
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
        let url = Url::parse("https://user:password@h/in/secret?key=other-secret").expect("a URL");
        assert_eq!(repeatable("invalid_payload\n", &url).as_deref(), Some("invalid_payload"));
        let whole = format!("no {url} here");
        for hidden in [
            "",
            "<html>",
            &whole,
            "no route /in/secret",
            "key other-secret expired",
            "not password",
            &"x".repeat(500),
        ] {
            assert_eq!(repeatable(hidden, &url), None);
        }
    }
}
