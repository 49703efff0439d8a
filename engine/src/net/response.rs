//! A service's response: its head with the body still to come, or read whole.

use std::time::Duration;

use bytes::Bytes;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap};

use super::body::{Collected, ReadError, announced, collect, next_chunk};
use super::call_error::{CallError, CallFailure};
use super::request::{Oversize, ServiceRequest};
use super::retry::retry_after;
use super::transport::TransportBody;
use crate::model::{ByteSize, StageError, mask_secrets};

/// Bytes of an error's body that are read: no service says more in an error.
const LONGEST_ERROR: usize = 1 << 20;

/// A response read whole.
#[derive(Debug)]
pub struct ServiceResponse {
    /// Status of the response.
    pub status: StatusCode,
    /// Headers of the response.
    pub headers: HeaderMap,
    /// The body. Without the secrets of this process where the status is no success: proxies and
    /// services repeat in an error what they were sent.
    pub body: Bytes,
}

impl ServiceResponse {
    /// How long the service asks to wait; see [`retry_after`].
    pub fn retry_after(&self) -> Option<Duration> {
        retry_after(&self.headers)
    }

    /// True for a page: of a proxy, a login, another server.
    pub fn is_html(&self) -> bool {
        is_html(&self.headers)
    }
}

/// True where the headers announce an HTML page.
pub fn is_html(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

/// A response whose body is still to come.
#[derive(Debug)]
pub struct StreamedResponse<'a> {
    /// Status of the response.
    pub status: StatusCode,
    /// Headers of the response.
    pub headers: HeaderMap,
    body: TransportBody,
    request: &'a ServiceRequest,
    stage: &'a str,
    idle: Option<Duration>,
}

impl<'a> StreamedResponse<'a> {
    pub(super) fn new(
        response: http::Response<TransportBody>,
        request: &'a ServiceRequest,
        stage: &'a str,
        idle: Option<Duration>,
    ) -> Self {
        let (head, body) = response.into_parts();
        Self { status: head.status, headers: head.headers, body, request, stage, idle }
    }

    /// The next piece of the body; none at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, CallError> {
        match next_chunk(&mut self.body, self.idle).await {
            Ok(chunk) => Ok(chunk),
            Err(ReadError::Idle) => Err(no_answer(self.stage, self.request)),
            Err(ReadError::Broken(error)) => Err(error.describe(self.stage, &self.request.host)),
        }
    }

    /// Reads the body. A success is read up to the request's bound. An error is truncated at a separate bound,
    /// since its status suffices.
    pub(super) async fn read(self) -> Result<ServiceResponse, CallError> {
        let Self { status, headers, body, request, stage, idle } = self;
        if status.is_success() && !request.reads_success {
            return Ok(ServiceResponse { status, headers, body: Bytes::new() });
        }
        let most = if status.is_success() { request.longest } else { LONGEST_ERROR };
        // What is announced to be too long is not waited for.
        if status.is_success() && announced(&body) > most {
            return Err(too_long(stage, request));
        }
        match collect(body, most, idle).await {
            Ok(Collected::Whole(body)) if status.is_success() => {
                Ok(ServiceResponse { status, headers, body })
            }
            Ok(Collected::Cut(_)) if status.is_success() => Err(too_long(stage, request)),
            Ok(Collected::Whole(body) | Collected::Cut(body)) => {
                Ok(ServiceResponse { status, headers, body: masked(body) })
            }
            Err(ReadError::Idle) => Err(no_answer(stage, request)),
            Err(ReadError::Broken(error)) => Err(error.describe(stage, &request.host)),
        }
    }
}

/// The error of a call without an answer in time.
pub(super) fn no_answer(stage: &str, request: &ServiceRequest) -> CallError {
    let message = format!("no answer in time from {}", request.host);
    CallError::new(CallFailure::Timeout, StageError::transient(stage, message))
}

fn too_long(stage: &str, request: &ServiceRequest) -> CallError {
    let message = format!(
        "{} sent more than {} for `{}`",
        request.host,
        ByteSize(request.longest as u64),
        request.operation
    );
    let error = match request.oversize {
        Oversize::Retry => StageError::transient(stage, message),
        Oversize::Refuse => StageError::refused(stage, message),
    };
    CallError::new(CallFailure::InvalidAnswer, error)
}

fn masked(body: Bytes) -> Bytes {
    match std::str::from_utf8(&body).map(mask_secrets) {
        Ok(std::borrow::Cow::Owned(masked)) => masked.into(),
        Ok(std::borrow::Cow::Borrowed(_)) | Err(_) => body,
    }
}
