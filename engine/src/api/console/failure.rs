//! Errors as pages.

use axum::response::{IntoResponse, Response};
use maud::html;

use super::layout;
use crate::api::error::ApiError;
use crate::app::AppError;
use crate::daemon::Refusal;
use crate::model::{StageError, mask_secrets};

/// An error on its way to a browser.
pub(super) struct Failure(ApiError);

/// What pages return.
pub(super) type PageResult = Result<Response, Failure>;

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        Self(error.into())
    }
}

impl From<StageError> for Failure {
    fn from(error: StageError) -> Self {
        Self(error.into())
    }
}

impl From<Refusal> for Failure {
    fn from(error: Refusal) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = self.0.status();
        let title = status.canonical_reason().unwrap_or("Error");
        let body = html! {
            main.sign-in id="main" {
                div.card {
                    (layout::brand())
                    h1 { (title) }
                    p.break role="alert" { (mask_secrets(self.0.message())) }
                    p { a href="/console" { "Go to the overview" } }
                }
            }
        };
        let mut response = layout::bare(title, &body);
        *response.status_mut() = status;
        response
    }
}
