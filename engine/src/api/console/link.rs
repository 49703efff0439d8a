//! `POST /console/links`: a link that signs in once, for `reposync console`.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Serialize;

use crate::api::App;
use crate::api::auth::bearer;
use crate::api::client::Client;
use crate::api::error::{ApiError, ApiResult};
use crate::daemon::{LINK_LIFE, token_digest};

/// A link that signs in.
#[derive(Debug, Serialize)]
pub(in crate::api) struct LinkBody {
    /// The page, below the address of the daemon.
    path: String,
    /// The whole address, if `[api] public_url` is set and the token may be used there.
    url: Option<String>,
    /// Seconds for which it works.
    seconds: u64,
}

/// A link that signs in with the token of the request.
pub(in crate::api) async fn make(
    State(app): State<App>,
    client: Client,
    headers: HeaderMap,
) -> ApiResult<Json<LinkBody>> {
    let token = bearer(&headers).ok_or_else(|| ApiError::unauthorized("the request has no token"))?;
    let code = app.handle.make_link(token_digest(token.as_bytes())).await?;
    let path = format!("/console/sign-in?code={code}");
    // The token that the daemon generated works on its machine alone.
    let public = app.handle.view().api().public_url.clone().filter(|_| !client.grant().is_local);
    let url = public.map(|public| format!("{public}{path}"));
    Ok(Json(LinkBody { path, url, seconds: LINK_LIFE.as_secs() }))
}
