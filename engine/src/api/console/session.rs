//! Pages need a session. It ends with its token.

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::failure::Failure;
use super::visitor::Visitor;
use crate::api::App;
use crate::api::audit::Trail;
use crate::api::auth;
use crate::api::cookie;
use crate::api::error::ApiError;
use crate::api::serve::Caller;
use crate::daemon::Session;

/// Lets requests with a session through; others are sent to the page for signing in.
pub(super) async fn require(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Extension(trail): Extension<Trail>,
    mut request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let session = match cookie::of(headers) {
        Some(secret) => match app.handle.session(secret).await {
            Ok(session) => session,
            Err(error) => return Failure::from(ApiError::from(error)).into_response(),
        },
        None => None,
    };
    let Some(Session { grant, csrf }) = session else {
        if request.method() != Method::GET {
            return Failure::from(ApiError::unauthorized("the session has ended; sign in again"))
                .into_response();
        }
        let page = request.uri().path_and_query().map_or("/console", |page| page.as_str());
        let next = utf8_percent_encode(page, NON_ALPHANUMERIC);
        return Redirect::to(&format!("/console/sign-in?next={next}")).into_response();
    };
    match auth::admit_page(&app, (&caller, &trail), headers, &grant) {
        Err(error) => Failure::from(error).into_response(),
        Ok(client) => {
            request.extensions_mut().insert(client.clone());
            request.extensions_mut().insert(Visitor { client, csrf: csrf.into() });
            next.run(request).await
        }
    }
}
