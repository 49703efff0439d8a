//! The caller of an authorized request: what its token allows, and the daemon as far as it may see it.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;

use super::error::{ApiError, ApiResult};
use crate::daemon::{Grant, Handle};
use crate::model::ApiScope;

/// The caller of an authorized request. Its handle shows nothing that the token may not see, so handlers use it
/// instead of the daemon's own.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) handle: Handle,
    grant: Arc<Grant>,
}

impl Client {
    pub(super) fn new(handle: &Handle, grant: Arc<Grant>) -> Self {
        Self { handle: handle.seen_by(Arc::clone(&grant.access)), grant }
    }

    pub(super) fn grant(&self) -> &Grant {
        &self.grant
    }

    /// True if the token has this scope.
    pub(super) fn has(&self, scope: ApiScope) -> bool {
        self.grant.has(scope)
    }

    /// True if the token is for all projects and repositories.
    pub(super) fn sees_everything(&self) -> bool {
        self.grant.access.is_whole()
    }

    /// Refuses a token without this scope.
    pub(super) fn require(&self, scope: ApiScope) -> ApiResult<()> {
        if self.has(scope) { Ok(()) } else { Err(ApiError::missing_scope(scope)) }
    }

    /// Refuses a token without the scope `admin`, and one that is limited to a part.
    pub(super) fn require_whole_admin(&self) -> ApiResult<()> {
        self.require(ApiScope::Admin)?;
        if self.sees_everything() {
            return Ok(());
        }
        Err(ApiError::forbidden("the token is limited to a part of the projects; this concerns all of them"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        // `auth::require` puts it there, around every route that needs a token.
        parts.extensions.get().cloned().ok_or_else(|| ApiError::unauthorized("the request has no token"))
    }
}

/// Lets requests through whose token has this scope.
pub(super) async fn require(
    scope: ApiScope,
    client: Client,
    request: Request,
    next: Next,
) -> ApiResult<Response> {
    client.require(scope)?;
    Ok(next.run(request).await)
}
