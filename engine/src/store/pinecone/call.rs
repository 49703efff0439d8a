//! One call to the service: headers, limits, retries, and what its errors mean.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::model::{ErrorKind, Event, EventSink, Secret, ServiceKind, StageError, StageResult};
use crate::net::{HttpClient, Limiter, Patience, describe_transport_error, read_body, retry, retry_after};

/// No answer is longer: a hundred records of the most components and metadata take a third of it.
const LONGEST_ANSWER: usize = 128 << 20;
/// Characters of a service's message that an error repeats.
const LONGEST_MESSAGE: usize = 300;
/// What to check where something answers that is not the service.
const ADDRESS_HINT: &str = "check `api_url` and `host`: something else answers there";

/// A request that may be sent more than once.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// What it does, for events.
    pub(super) operation: &'static str,
    /// How many things it is about.
    pub(super) items: usize,
    pub(super) method: Method,
    pub(super) url: Url,
    /// JSON.
    pub(super) body: Option<Bytes>,
}

/// An answer that the caller understands.
#[derive(Debug)]
pub(super) enum Answer<T> {
    Done(T),
    /// 404: the index, or the namespace.
    Missing,
    /// 413: the body is too long.
    TooLarge,
    /// 409: what is to be created is there.
    Exists,
}

/// Makes calls. The key goes into every one of them, so callers name only the service's own URLs.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) stage: String,
    pub(super) http: HttpClient,
    pub(super) key: Secret,
    pub(super) version: String,
    pub(super) limiter: Arc<Limiter>,
    pub(super) cancel: CancellationToken,
    pub(super) events: EventSink,
    pub(super) patience: Patience,
}

impl Caller {
    /// Calls until there is an answer that the caller understands, or an error that lasts.
    pub(super) async fn call<T: DeserializeOwned>(&self, request: &Request) -> StageResult<Answer<T>> {
        retry(&self.patience.retry, &self.cancel, &self.events, || self.once(request)).await
    }

    async fn once<T: DeserializeOwned>(&self, request: &Request) -> StageResult<Answer<T>> {
        let permit = tokio::select! {
            permit = self.limiter.acquire(0) => permit,
            () = self.cancel.cancelled() => return Err(StageError::cancelled(&self.stage)),
        };
        let started = Instant::now();
        let result = tokio::select! {
            result = tokio::time::timeout(self.patience.answer, self.send(request)) => result.unwrap_or_else(|_| {
                Err((StageError::transient(&self.stage, format!("no answer in time from {}", host(&request.url))), "timeout"))
            }),
            () = self.cancel.cancelled() => return Err(StageError::cancelled(&self.stage)),
        };
        self.events.emit(Event::Call {
            service: ServiceKind::Store,
            stage: self.stage.clone(),
            operation: request.operation,
            items: request.items as u64,
            tokens: 0,
            seconds: started.elapsed().as_secs_f64(),
            ok: result.is_ok(),
            error: result.as_ref().err().map(|(_, name)| *name),
        });
        match result {
            Ok(answer) => {
                permit.succeeded();
                Ok(answer)
            }
            Err((error, name)) => {
                if let ErrorKind::Transient { retry_after: Some(wait) } = error.kind {
                    self.limiter.pause(wait);
                }
                if name == "rate_limit" {
                    permit.throttled();
                }
                Err(error)
            }
        }
    }

    /// Sends once. An error comes with its type as metrics count it.
    async fn send<T: DeserializeOwned>(
        &self,
        request: &Request,
    ) -> Result<Answer<T>, (StageError, &'static str)> {
        let host = host(&request.url);
        let lost = |error| (describe_transport_error(&self.stage, &host, error), "connection");
        let mut builder = self
            .http
            .request(request.method.clone(), request.url.clone())
            .header("Api-Key", self.key.expose())
            .header("X-Pinecone-Api-Version", &self.version);
        if let Some(body) = &request.body {
            builder = builder.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        let response = builder.send().await.map_err(lost)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let Some(body) = read_body(response, LONGEST_ANSWER).await.map_err(lost)? else {
            let error = StageError::transient(&self.stage, format!("an answer of {host} without end"));
            return Err((error, "invalid_answer"));
        };
        match status {
            _ if status.is_success() => match serde_json::from_slice(&body) {
                Ok(value) => Ok(Answer::Done(value)),
                Err(error) => {
                    let message = format!("an answer of {host} that is not as documented");
                    let error = StageError::transient(&self.stage, message).caused_by(error);
                    let error = if is_html(&headers) { error.hint(ADDRESS_HINT) } else { error };
                    Err((error, "invalid_answer"))
                }
            },
            // A page of something in between is no word of the service's own.
            StatusCode::NOT_FOUND if !is_html(&headers) => Ok(Answer::Missing),
            StatusCode::PAYLOAD_TOO_LARGE => Ok(Answer::TooLarge),
            StatusCode::CONFLICT => Ok(Answer::Exists),
            _ => Err(self.explain(&host, status, &headers, &body)),
        }
    }

    fn explain(
        &self,
        host: &str,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> (StageError, &'static str) {
        let said = Said::read(body, is_html(headers), &self.key);
        let message = match &said.message {
            Some(message) => format!("{host} answers {}: {message}", status.as_u16()),
            None => format!("{host} answers {status}"),
        };
        let permanent = |hint: &str| StageError::misconfigured(&self.stage, message.clone()).hint(hint);
        match status.as_u16() {
            401 => (permanent("check the stage's `api_key`"), "auth"),
            402 => (permanent("settle the payment of the Pinecone account, then run again"), "quota"),
            _ if said.is_quota => {
                (permanent("raise the quota of the Pinecone project, or remove indexes from it"), "quota")
            }
            403 => {
                (permanent("check that the `api_key` belongs to the index's project and may write"), "auth")
            }
            408 | 429 | 500..=599 => {
                let kind = ErrorKind::Transient { retry_after: retry_after(headers) };
                let name = if status == StatusCode::TOO_MANY_REQUESTS { "rate_limit" } else { "server" };
                (StageError::new(&self.stage, kind, message), name)
            }
            400 if said.is_about_dimension() => {
                (permanent("use an embedder with the index's dimension, or another `index`"), "dimension")
            }
            300..=399 | 404 => (permanent(ADDRESS_HINT), "refused"),
            _ => (StageError::refused(&self.stage, message), "refused"),
        }
    }
}

/// What an error's body says, in any of the service's forms.
pub(super) struct Said {
    pub(super) message: Option<String>,
    is_quota: bool,
}

impl Said {
    pub(super) fn read(body: &[u8], is_html: bool, key: &Secret) -> Self {
        /// The data plane says `{"code": 3, "message": …}`, the control plane
        /// `{"status": 429, "error": {"code": "QUOTA_EXCEEDED", "message": …}}`.
        #[derive(Deserialize)]
        struct Body {
            message: Option<String>,
            error: Option<Inner>,
        }
        #[derive(Deserialize)]
        struct Inner {
            code: Option<String>,
            message: Option<String>,
        }
        let text = match serde_json::from_slice::<Body>(body) {
            Ok(Body { error: Some(inner), .. }) => {
                let is_quota = inner.code.as_deref() == Some("QUOTA_EXCEEDED");
                return Self { message: inner.message.and_then(|text| presentable(&text, key)), is_quota };
            }
            Ok(Body { message, .. }) => message.unwrap_or_default(),
            Err(_) if is_html => String::new(),
            Err(_) => String::from_utf8_lossy(body).into_owned(),
        };
        Self { message: presentable(&text, key), is_quota: false }
    }

    fn is_about_dimension(&self) -> bool {
        self.message.as_deref().is_some_and(|message| message.to_ascii_lowercase().contains("dimension"))
    }
}

/// One line without control characters, without the key, not too long; none where nothing is left.
fn presentable(text: &str, key: &Secret) -> Option<String> {
    let text = if key.expose().is_empty() { text.to_owned() } else { text.replace(key.expose(), "***") };
    let line: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    let mut line = line.join(" ");
    if let Some((at, _)) = line.char_indices().nth(LONGEST_MESSAGE) {
        line.truncate(at);
        line.push('…');
    }
    (!line.is_empty()).then_some(line)
}

pub(super) fn is_html(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

/// Host and port, for messages.
pub(super) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_read_in_every_form() {
        let key = Secret::new("pcsk_k");
        for (body, html, message, is_quota) in [
            (
                &br#"{"code":3,"message":"Vector dimension 2","details":[]}"#[..],
                false,
                Some("Vector dimension 2"),
                false,
            ),
            (
                br#"{"status":429,"error":{"code":"QUOTA_EXCEEDED","message":"too many"}}"#,
                false,
                Some("too many"),
                true,
            ),
            (b"Unauthorized", false, Some("Unauthorized"), false),
            (b"bad key\r\n\x1b[31mpcsk_k", false, Some("bad key [31m***"), false),
            (b"<html>busy</html>", true, None, false),
            (b"", false, None, false),
            (b"{}", false, None, false),
        ] {
            let said = Said::read(body, html, &key);
            assert_eq!((said.message.as_deref(), said.is_quota), (message, is_quota));
        }
        let long = presentable(&"ä".repeat(1000), &key).expect("text");
        assert_eq!(long.chars().count(), LONGEST_MESSAGE + 1);
    }
}
