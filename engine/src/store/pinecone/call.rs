//! Requests with the key, and what the service's answers mean.

use std::future::ready;

use bytes::Bytes;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::settings::PineconeSettings;
use crate::model::{ErrorKind, StageError, StageResult};
use crate::net::{
    Accepted, CallError, CallFailure, Classified, Service, ServiceRequest, ServiceResponse, one_line,
    secret_header,
};

/// No answer is longer: a hundred records of the most components and metadata take a third of it.
const LONGEST_ANSWER: usize = 128 << 20;
/// Longest message of the service that an error repeats, in characters.
const LONGEST_MESSAGE: usize = 300;
/// What to check where something answers that is not the service.
const ADDRESS_HINT: &str = "check `api_url` and `host`: something else answers there";

const API_KEY: HeaderName = HeaderName::from_static("api-key");
const API_VERSION: HeaderName = HeaderName::from_static("x-pinecone-api-version");

/// An answer that the caller understands.
#[derive(Debug)]
pub(super) enum Reply<T> {
    Done(T),
    /// 404: the index, or the namespace.
    Missing,
    /// 413: the body is too long.
    TooLarge,
    /// 409: the index exists already.
    Exists,
}

/// Makes calls. The key goes into every one of them, so callers name only the service's own URLs.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) service: Service,
    key: HeaderValue,
    version: HeaderValue,
}

impl Caller {
    pub(super) fn new(service: Service, settings: &PineconeSettings) -> StageResult<Self> {
        let key = secret_header(service.stage(), "api_key", "", &settings.api_key)?;
        let version = HeaderValue::from_str(&settings.api_version).map_err(|error| {
            StageError::misconfigured(service.stage(), "`api_version` holds characters that no version has")
                .caused_by(error)
        })?;
        Ok(Self { service, key, version })
    }

    pub(super) fn stage(&self) -> &str {
        self.service.stage()
    }

    /// A request without a body.
    pub(super) fn get(&self, operation: &'static str, items: usize, url: Url) -> ServiceRequest {
        self.request(operation, items, Method::GET, url)
    }

    /// A request with a JSON body.
    pub(super) fn post(
        &self,
        operation: &'static str,
        items: usize,
        url: Url,
        body: impl Into<Bytes>,
    ) -> ServiceRequest {
        self.request(operation, items, Method::POST, url).json(body.into())
    }

    fn request(&self, operation: &'static str, items: usize, method: Method, url: Url) -> ServiceRequest {
        let request = ServiceRequest::new(operation, method, url)
            .header(API_KEY, self.key.clone())
            .header(API_VERSION, self.version.clone());
        ServiceRequest { items: items as u64, longest: LONGEST_ANSWER, ..request }
    }

    /// Calls until there is an answer that the caller understands, or an error that lasts.
    pub(super) async fn call<T: DeserializeOwned>(&self, request: &ServiceRequest) -> StageResult<Reply<T>> {
        self.service.call(request, |response| ready(self.classify(request, &response))).await
    }

    fn classify<T: DeserializeOwned>(
        &self,
        request: &ServiceRequest,
        response: &ServiceResponse,
    ) -> Classified<Reply<T>> {
        let host = &request.host;
        match response.status {
            status if status.is_success() => match serde_json::from_slice(&response.body) {
                Ok(value) => Ok(Accepted::new(Reply::Done(value))),
                Err(error) => {
                    let message = format!("an answer of {host} that is not as documented");
                    let error = StageError::transient(self.stage(), message).caused_by(error);
                    let error = if response.is_html() { error.hint(ADDRESS_HINT) } else { error };
                    Err(CallError::new(CallFailure::InvalidAnswer, error))
                }
            },
            // A page of something in between is no word of the service's own.
            StatusCode::NOT_FOUND if !response.is_html() => Ok(Accepted::new(Reply::Missing)),
            StatusCode::PAYLOAD_TOO_LARGE => Ok(Accepted::declined(CallFailure::Refused, Reply::TooLarge)),
            StatusCode::CONFLICT => Ok(Accepted::new(Reply::Exists)),
            _ => Err(self.explain(host, response)),
        }
    }

    fn explain(&self, host: &str, response: &ServiceResponse) -> CallError {
        let status = response.status;
        let said = ErrorBody::read(&response.body, response.is_html());
        let message = match &said.message {
            Some(message) => format!("{host} answers {}: {message}", status.as_u16()),
            None => format!("{host} answers {status}"),
        };
        let permanent = |failure, hint: &str| {
            CallError::new(failure, StageError::misconfigured(self.stage(), message.clone()).hint(hint))
        };
        match status.as_u16() {
            401 => permanent(CallFailure::Credentials, "check the stage's `api_key`"),
            402 => {
                permanent(CallFailure::Quota, "settle the payment of the Pinecone account, then run again")
            }
            _ if said.is_quota => permanent(
                CallFailure::Quota,
                "raise the quota of the Pinecone project, or remove indexes from it",
            ),
            403 => permanent(
                CallFailure::Credentials,
                "check that the `api_key` belongs to the index's project and may write",
            ),
            408 | 429 | 500..=599 => {
                let kind = ErrorKind::Transient { retry_after: response.retry_after() };
                let limited = status == StatusCode::TOO_MANY_REQUESTS;
                let failure = if limited { CallFailure::RateLimit } else { CallFailure::Server };
                CallError::new(failure, StageError::new(self.stage(), kind, message))
            }
            400 if said.is_about_dimension() => permanent(
                CallFailure::Refused,
                "use an embedder with the index's dimension, or another `index`",
            ),
            300..=399 | 404 => permanent(CallFailure::Refused, ADDRESS_HINT),
            _ => CallError::new(CallFailure::Refused, StageError::refused(self.stage(), message)),
        }
    }
}

/// What an error's body says, in any of the service's forms.
pub(super) struct ErrorBody {
    pub(super) message: Option<String>,
    is_quota: bool,
}

impl ErrorBody {
    pub(super) fn read(body: &[u8], is_html: bool) -> Self {
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
        let (text, is_quota) = match serde_json::from_slice::<Body>(body) {
            Ok(Body { error: Some(Inner { code, message }), .. }) => {
                (message.unwrap_or_default(), code.as_deref() == Some("QUOTA_EXCEEDED"))
            }
            Ok(Body { message, error: None }) => (message.unwrap_or_default(), false),
            Err(_) if is_html => (String::new(), false),
            Err(_) => (String::from_utf8_lossy(body).into_owned(), false),
        };
        let line = one_line(&text, LONGEST_MESSAGE);
        Self { message: (!line.is_empty()).then_some(line), is_quota }
    }

    fn is_about_dimension(&self) -> bool {
        self.message.as_deref().is_some_and(|message| message.to_ascii_lowercase().contains("dimension"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::register_secrets;

    #[test]
    fn errors_are_read_in_every_form() {
        register_secrets(["pcsk_of-the-form-test".to_owned()]);
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
            (b"bad key\r\n\x1b[31mpcsk_of-the-form-test", false, Some("bad key [31m***"), false),
            (b"<html>busy</html>", true, None, false),
            (b"", false, None, false),
            (b"{}", false, None, false),
        ] {
            let said = ErrorBody::read(body, html);
            assert_eq!((said.message.as_deref(), said.is_quota), (message, is_quota));
        }
    }
}
