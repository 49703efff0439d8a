//! What carries a request to its service. Usually [`HttpClient`]; GitHub's requests go through octocrab, those
//! of Git over ssh through the program `ssh`.

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;

use super::call_error::{CallError, CallFailure};
use super::client::{HttpClient, describe_transport_error};
use super::request::ServiceRequest;
use crate::model::StageError;

/// The body of a response, as it arrives.
pub type TransportBody = UnsyncBoxBody<Bytes, TransportError>;

/// Sends one request, without retries, limits or time-outs.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Returns once the head of the response is there.
    async fn send(&self, request: &ServiceRequest) -> Result<http::Response<TransportBody>, TransportError>;
}

/// A request that was not answered, or a body that broke off.
#[derive(Debug)]
pub enum TransportError {
    /// By our HTTP client.
    Http(reqwest::Error),
    /// A layer above it could not read the response.
    Unreadable,
    /// By a transport that is no HTTP client: what went wrong, in its own words.
    Failed(Box<CallError>),
}

impl TransportError {
    /// The error of a call to `host`.
    pub(super) fn describe(self, stage: &str, host: &str) -> CallError {
        match self {
            Self::Http(error) => {
                let failure = if error.is_timeout() { CallFailure::Timeout } else { CallFailure::Connection };
                CallError::new(failure, describe_transport_error(stage, host, error))
            }
            Self::Failed(error) => *error,
            Self::Unreadable => CallError::new(
                CallFailure::InvalidAnswer,
                StageError::transient(stage, format!("{host} sent an answer that cannot be read")),
            ),
        }
    }
}

#[async_trait]
impl Transport for HttpClient {
    async fn send(&self, request: &ServiceRequest) -> Result<http::Response<TransportBody>, TransportError> {
        let mut builder =
            self.request(request.method.clone(), request.url.clone()).headers(request.headers.clone());
        if let Some(body) = &request.body {
            builder = builder.body(body.clone());
        }
        let response = builder.send().await.map_err(TransportError::Http)?;
        let response: http::Response<reqwest::Body> = response.into();
        Ok(response.map(|body| body.map_err(TransportError::Http).boxed_unsync()))
    }
}
