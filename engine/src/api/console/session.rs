//! Sessions: a cookie that stands for a token, so that a browser keeps no token. A session ends with its token.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use parking_lot::Mutex;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::Instant;

use super::failure::Failure;
use crate::api::App;
use crate::api::audit::Trail;
use crate::api::auth;
use crate::api::client::Client;
use crate::api::error::ApiError;
use crate::api::serve::Caller;
use crate::daemon::{TokenDigest, token_digest};
use crate::model::{StageError, StageResult};

/// The cookie's name.
const COOKIE: &str = "reposync_session";
/// How long a session lasts.
pub(super) const LIFE: Duration = Duration::from_secs(12 * 3600);
/// Maximum number of sessions; the oldest one ends for a new one.
const MOST: usize = 10_000;

/// The sessions, by the digest of their id. They end with the process.
#[derive(Default)]
pub(in crate::api) struct Sessions(Mutex<HashMap<TokenDigest, Session>>);

#[derive(Clone)]
struct Session {
    /// The digest of the token that it stands for.
    token: TokenDigest,
    csrf: String,
    since: Instant,
}

impl Sessions {
    /// Begins a session for a token; returns its id, the cookie's value.
    pub(super) fn begin(&self, token: TokenDigest) -> StageResult<String> {
        let (id, csrf) = (random()?, random()?);
        let since = Instant::now();
        let mut sessions = self.0.lock();
        sessions.retain(|_, session| since.duration_since(session.since) < LIFE);
        if sessions.len() >= MOST
            && let Some(oldest) = sessions.iter().min_by_key(|(_, session)| session.since).map(|(id, _)| *id)
        {
            sessions.remove(&oldest);
        }
        sessions.insert(token_digest(id.as_bytes()), Session { token, csrf, since });
        Ok(id)
    }

    fn of(&self, headers: &HeaderMap) -> Option<Session> {
        let id = cookie(headers)?;
        let session = self.0.lock().get(&token_digest(id.as_bytes())).cloned()?;
        (session.since.elapsed() < LIFE).then_some(session)
    }

    /// Ends the session of a request.
    pub(super) fn end(&self, headers: &HeaderMap) {
        if let Some(id) = cookie(headers) {
            self.0.lock().remove(&token_digest(id.as_bytes()));
        }
    }
}

fn random() -> StageResult<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        StageError::local("api", "no random numbers").caused_by(std::io::Error::other(error.to_string()))
    })?;
    Ok(hex::encode(bytes))
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|value| value.split(';'))
        .find_map(|one| one.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// The value of `Set-Cookie`; an empty id removes the cookie.
pub(super) fn set_cookie(id: &str, is_secure: bool) -> String {
    let age = if id.is_empty() { 0 } else { LIFE.as_secs() };
    let secure = if is_secure { "; Secure" } else { "" };
    format!("{COOKIE}={id}; Path=/console; Max-Age={age}; HttpOnly; SameSite=Lax{secure}")
}

/// Who looks at a page.
#[derive(Clone)]
pub(super) struct Visitor {
    pub(super) client: Client,
    /// What every form carries.
    pub(super) csrf: Arc<str>,
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Failure> {
        parts.extensions.get().cloned().ok_or_else(|| ApiError::unauthorized("sign in first").into())
    }
}

/// Lets requests with a session through; others are sent to the page for signing in.
pub(super) async fn require(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Extension(trail): Extension<Trail>,
    mut request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let admitted = app.sessions.of(headers).and_then(|session| {
        let grant = app.handle.view().tokens().grant_of(session.token).cloned()?;
        Some((session, grant))
    });
    let Some((session, grant)) = admitted else {
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
            request.extensions_mut().insert(Visitor { client, csrf: session.csrf.into() });
            next.run(request).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookie: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::COOKIE, cookie.parse().expect("a value"))])
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_lasts_until_it_is_ended_or_old() {
        let sessions = Sessions::default();
        let id = sessions.begin([1; 32]).expect("random");
        let own = headers(&format!("other=1; {COOKIE}={id}"));
        assert_eq!(sessions.of(&own).map(|session| session.token), Some([1; 32]));
        for wrong in ["", "reposync_session=", "reposync_session=x", "xreposync_session=1", &id] {
            assert!(sessions.of(&headers(wrong)).is_none(), "{wrong}");
        }
        let other = sessions.begin([2; 32]).expect("random");
        assert_ne!(id, other);
        sessions.end(&own);
        assert!(sessions.of(&own).is_none());
        let other = headers(&format!("{COOKIE}={other}"));
        assert!(sessions.of(&other).is_some());
        tokio::time::advance(LIFE).await;
        assert!(sessions.of(&other).is_none());
        assert!(set_cookie("a", true).contains("HttpOnly; SameSite=Lax; Secure"));
        assert!(set_cookie("", false).contains("Max-Age=0"));
    }
}
