//! Who looks at a page.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::api::client::Client;
use crate::api::error::ApiError;

/// Who looks at a page.
#[derive(Clone)]
pub(super) struct Visitor {
    pub(super) client: Client,
    /// What every form carries.
    pub(super) csrf: Arc<str>,
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        parts.extensions.get().cloned().ok_or_else(|| ApiError::unauthorized("sign in first"))
    }
}
