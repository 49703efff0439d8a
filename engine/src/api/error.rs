//! Errors as callers see them: a stable code and a message. The cause stays in the log.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::budget::Unread;
use crate::app::AppError;
use crate::daemon::Refusal;
use crate::model::{ApiScope, ByteSize, ErrorKind, StageError, mask_secrets};

/// Seconds after which a request that met no room is worth another try.
const BUSY: u64 = 10;

/// The form of every error.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    error: ErrorText,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorText {
    /// A stable word, such as `not_found`.
    code: &'static str,
    /// What happened, and what to do.
    message: String,
}

/// An error on its way to the caller.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after: Option<u64>,
}

/// What handlers return.
pub(super) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(super) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// The token does not allow the request.
    pub(super) fn missing_scope(scope: ApiScope) -> Self {
        let message = format!("the token lacks the scope `{scope}`; add it to `scopes` of `[api.tokens]`");
        Self::forbidden(message)
    }

    /// The token was used too often.
    pub(super) fn too_many(limit: u32, wait: Duration) -> Self {
        let message = format!("the token allows {limit} requests per minute");
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message);
        error.retry_after = Some(wait.as_secs() + 1);
        error
    }

    /// Something is used up for the moment.
    pub(super) fn busy(message: impl Into<String>) -> Self {
        let mut error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message);
        error.retry_after = Some(BUSY);
        error
    }

    /// A body that was not read.
    pub(super) fn unread(unread: &Unread, most: usize) -> Self {
        match unread {
            Unread::TooLarge => {
                let message = format!("the body is larger than {}", ByteSize(most as u64));
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
            }
            Unread::Busy => Self::busy("the bodies of other requests take all the memory that they may"),
            Unread::Stalled => {
                let message = "nothing of the body arrived for 10 seconds";
                Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", message)
            }
            Unread::Broken(error) => Self::bad_request(format!("the body cannot be read: {error}")),
        }
    }

    pub(super) fn stopping() -> Self {
        let mut error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the daemon is about to end");
        error.retry_after = Some(5);
        error
    }

    /// No daemon of the state starts runs at the moment.
    pub(super) fn no_dispatcher() -> Self {
        let message = "no daemon answers as the dispatcher; another one takes over within half a minute";
        let mut error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "no_dispatcher", message);
        error.retry_after = Some(20);
        error
    }
}

impl From<AppError> for ApiError {
    fn from(error: AppError) -> Self {
        match error {
            AppError::NoProject { name, .. } => Refusal::NoProject(name).into(),
            AppError::Disabled(name) => Refusal::Disabled(name).into(),
            AppError::Absent(message) => Self::not_found(message),
            AppError::Ambiguous(message) | AppError::Invalid(message) => Self::bad_request(message),
            AppError::Conflict { code, message } => Self::new(StatusCode::CONFLICT, code, message),
            AppError::Owned(project) => {
                let message = match project {
                    Some(name) => format!("project `{name}` owns this namespace; its runs alone write there"),
                    None => "the namespace is in use; choose another one".to_owned(),
                };
                Self::new(StatusCode::CONFLICT, "owned", message)
            }
            AppError::Stage(error) => error.into(),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoProject(name) => Self::not_found(format!("there is no project `{name}`")),
            Refusal::Disabled(name) => {
                Self::new(StatusCode::CONFLICT, "disabled", format!("project `{name}` is disabled"))
            }
            Refusal::Stopping => Self::stopping(),
            Refusal::NoDispatcher => Self::no_dispatcher(),
        }
    }
}

impl From<StageError> for ApiError {
    fn from(error: StageError) -> Self {
        let hint = error.hint.as_deref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        let message = format!("stage `{}`: {}{hint}", error.stage, error.message);
        let (status, code) = match error.kind {
            ErrorKind::Refused | ErrorKind::BadInput => (StatusCode::UNPROCESSABLE_ENTITY, "refused"),
            ErrorKind::Transient { .. } => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            ErrorKind::Misconfigured => (StatusCode::BAD_GATEWAY, "misconfigured"),
            ErrorKind::Cancelled => return Self::stopping(),
            ErrorKind::Local | ErrorKind::Fenced | ErrorKind::Outdated | ErrorKind::Bug => {
                tracing::error!(error = %error.one_line(), "a request failed");
                (StatusCode::INTERNAL_SERVER_ERROR, "internal")
            }
        };
        let mut own = Self::new(status, code, message);
        if let ErrorKind::Transient { retry_after } = error.kind {
            own.retry_after = Some(retry_after.map_or(5, |wait| wait.as_secs().max(1)));
        }
        own
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let message = mask_secrets(&self.message).into_owned();
        let body = ErrorBody { error: ErrorText { code: self.code, message } };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
