//! Authorization: a bearer token, and its rate. The token that the daemon generated is for loopback requests
//! that no web page sent.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::sleep;

use super::App;
use super::audit::Trail;
use super::browser::is_loopback;
use super::client::Client;
use super::error::{ApiError, ApiResult};
use super::serve::Caller;
use crate::daemon::{Grant, Tokens};

/// The answer to a wrong token is delayed by this, doubled with each further one of the same address
/// within a minute.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(2);
/// Audit entries of wrong tokens for each address within a minute; further ones are only counted.
const MOST_ENTRIES: u32 = 10;

/// Why a request is not authorized.
enum Denied {
    /// It carries a token that is none of those in force; how to send the right one.
    WrongToken(String),
    Other(ApiError),
}

/// The connection of a request, and what the audit learns of it.
type Origin<'a> = (&'a Caller, &'a Trail);

/// Lets authorized requests through.
pub(super) async fn require(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Extension(trail): Extension<Trail>,
    request: Request,
    next: Next,
) -> ApiResult<Response> {
    let (mut parts, body) = request.into_parts();
    let client = authorize(&app, (&caller, &trail), &parts.headers, bearer(&parts.headers)).await?;
    parts.extensions.insert(client);
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// The caller who may see more than that the daemon lives.
pub(super) async fn client_of(app: &App, origin: Origin<'_>, headers: &HeaderMap) -> Option<Client> {
    authorize(app, origin, headers, bearer(headers)).await.ok()
}

/// Authorizes the token that somebody signs in with on a page of the console.
pub(super) async fn sign_in(
    app: &App,
    origin: Origin<'_>,
    headers: &HeaderMap,
    given: &str,
) -> ApiResult<Client> {
    let checked = check(app, origin.0, headers, Some(given), check_here);
    admit_or_refuse(app, origin, checked).await
}

/// Admits a page of a session, whose token was authorized.
pub(super) fn admit_page(
    app: &App,
    origin: Origin<'_>,
    headers: &HeaderMap,
    grant: &Arc<Grant>,
) -> ApiResult<Client> {
    if grant.is_local {
        check_here(origin.0, headers)?;
    }
    admit(app, origin, grant)
}

async fn authorize(
    app: &App,
    origin: Origin<'_>,
    headers: &HeaderMap,
    given: Option<&str>,
) -> ApiResult<Client> {
    let checked = check(app, origin.0, headers, given, check_local);
    admit_or_refuse(app, origin, checked).await
}

/// Wrong tokens are counted and logged, and their answers delayed. A right token is never delayed,
/// whatever others of the same address sent before.
async fn admit_or_refuse(
    app: &App,
    (caller, trail): Origin<'_>,
    checked: Result<Arc<Grant>, Denied>,
) -> ApiResult<Client> {
    match checked {
        Ok(grant) => admit(app, (caller, trail), &grant),
        Err(Denied::Other(error)) => Err(error),
        Err(Denied::WrongToken(message)) => {
            app.metrics.wrong_token();
            let noted = app.throttle.note("wrong token", caller.address());
            if noted.log {
                let (address, unlogged) = (caller.address(), noted.unlogged);
                tracing::warn!(%address, unlogged, "a request had a wrong token");
            }
            if noted.count <= MOST_ENTRIES {
                trail.refused();
            }
            sleep(delay(noted.count)).await;
            Err(ApiError::unauthorized(message))
        }
    }
}

/// Admits a request of a token within the token's rate and the bound of connections.
fn admit(app: &App, (caller, trail): Origin<'_>, grant: &Arc<Grant>) -> ApiResult<Client> {
    trail.accepted(&grant.name);
    if let Some(limit) = grant.requests_per_minute {
        app.rates.take(&grant.name, limit).map_err(|wait| ApiError::too_many(limit, wait))?;
    }
    if caller.authorize(app.handle.view().api().max_connections) {
        Ok(Client::new(&app.handle, Arc::clone(grant)))
    } else {
        Err(ApiError::busy("`[api] max_connections` connections are in use"))
    }
}

/// The delay of the answer to the `count`-th wrong token within a minute.
fn delay(count: u32) -> Duration {
    FIRST_DELAY.saturating_mul(1 << count.saturating_sub(1).min(16)).min(LONGEST_DELAY)
}

/// What the token allows by which the request is authorized. `is_from_here` checks requests with the generated token.
fn check(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    given: Option<&str>,
    is_from_here: fn(&Caller, &HeaderMap) -> ApiResult<()>,
) -> Result<Arc<Grant>, Denied> {
    let view = app.handle.view();
    let tokens = view.tokens();
    if tokens.file().is_some() && !tokens.has_named() {
        is_from_here(caller, headers).map_err(Denied::Other)?;
    }
    let Some(given) = given else {
        let message = format!("send `Authorization: Bearer` with {}", place(tokens));
        return Err(Denied::Other(ApiError::unauthorized(message)));
    };
    match tokens.grant(given.as_bytes()) {
        Some(grant) => {
            if grant.is_local {
                is_from_here(caller, headers).map_err(Denied::Other)?;
            }
            Ok(Arc::clone(grant))
        }
        None => Err(Denied::WrongToken(format!("the token is not {}", place(tokens)))),
    }
}

/// Where a client finds a token, as it is called in a sentence.
fn place(tokens: &Tokens) -> String {
    match (tokens.file(), tokens.has_named()) {
        (Some(file), false) => format!("the token in `{}`", file.display()),
        (Some(_), true) => "one of `[api.tokens]`".to_owned(),
        (None, false) => "the token of `[api] token`".to_owned(),
        (None, true) => "the token of `[api] token` or one of `[api.tokens]`".to_owned(),
    }
}

/// For the generated token in a request of the API: a page in somebody's browser could send requests, too.
fn check_local(caller: &Caller, headers: &HeaderMap) -> ApiResult<()> {
    check_here(caller, headers)?;
    if headers.contains_key(header::ORIGIN) {
        return Err(ApiError::forbidden("requests of web pages need `[api] token` or `[api.tokens]`"));
    }
    Ok(())
}

/// For the generated token: only this machine, by its own name. A page of another site can make its name resolve to
/// this machine.
fn check_here(caller: &Caller, headers: &HeaderMap) -> ApiResult<()> {
    if !caller.address().to_canonical().is_loopback() {
        return Err(ApiError::forbidden(
            "set `[api] token`: the token that the daemon generated is for programs of its machine",
        ));
    }
    match headers.get(header::HOST) {
        None => Ok(()),
        Some(host) if host.to_str().is_ok_and(is_loopback) => Ok(()),
        Some(_) => {
            Err(ApiError::forbidden("without `[api] token` the host must be 127.0.0.1, [::1] or localhost"))
        }
    }
}

/// The token that a request carries.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| credentials.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_wrong_token_is_delayed_by_two_seconds_at_most() {
        let delays = [1, 2, 5, 6, 7, u32::MAX].map(|count| delay(count).as_millis());
        assert_eq!(delays, [100, 200, 1600, 2000, 2000, 2000]);
    }

    #[test]
    fn the_bearer_is_read_whatever_the_case_of_its_scheme() {
        let mut headers = HeaderMap::new();
        assert_eq!(bearer(&headers), None);
        for (value, expected) in
            [("Bearer x", Some("x")), ("bearer  x", Some("x")), ("Basic x", None), ("x", None)]
        {
            headers.insert(header::AUTHORIZATION, value.parse().expect("a value"));
            assert_eq!(bearer(&headers), expected, "{value}");
        }
    }
}
