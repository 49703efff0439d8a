//! `/mcp`: the Model Context Protocol over HTTP, behind the same authorization and bounds as the other routes.

use std::sync::Arc;

use async_trait::async_trait;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use http_body_util::Full;

use super::App;
use super::client::Client;
use super::error::{ApiError, ApiResult};
use crate::app::AppResult;
use crate::daemon::Handle;
use crate::mcp::{Apps, http_service};

/// Bytes of a message.
const BODY: usize = 2 << 20;

/// The use cases of the running generation, for one caller.
struct Running(Handle);

#[async_trait]
impl Apps for Running {
    async fn app(&self) -> AppResult<crate::app::App> {
        Ok(self.0.app())
    }
}

/// One message of a client, and its answer.
pub(super) async fn mcp(State(app): State<App>, client: Client, request: Request) -> ApiResult<Response> {
    let (parts, body) = request.into_parts();
    let held = app.bodies.read(body, BODY, |_| ()).await.map_err(|unread| ApiError::unread(&unread, BODY))?;
    let request = axum::http::Request::from_parts(parts, Full::new(Bytes::copy_from_slice(&held)));
    drop(held);
    // A service for each request: it answers for what this caller may see, and keeps nothing between requests.
    let service = http_service(Arc::new(Running(client.handle)), BODY);
    Ok(service.handle(request).await.map(Body::new))
}
