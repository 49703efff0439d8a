//! Signing in with a token, and out.

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::failure::{Failure, PageResult};
use super::layout;
use super::posted::{self, Posted};
use crate::api::App;
use crate::api::audit::Trail;
use crate::api::auth;
use crate::api::cookie;
use crate::api::extract::Params;
use crate::api::serve::Caller;
use crate::daemon::{TokenDigest, token_digest};

/// Where to go then.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Next {
    next: String,
    /// The code of a one-time link, which replaces a token.
    code: String,
}

/// The page for signing in.
pub(super) async fn page(State(app): State<App>, Params(Next { next, code }): Params<Next>) -> Response {
    let next = own(&next);
    // A link that is only looked at, as chats do, is not used up.
    let form = if code.is_empty() { form(&app, &next, None) } else { link(&next, &code) };
    layout::bare("Sign in", &form)
}

/// Begins a session.
pub(super) async fn sign_in(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Extension(trail): Extension<Trail>,
    request: Request,
) -> PageResult {
    let headers = request.headers().clone();
    posted::check_origin(&headers, app.handle.view().api().public_url.as_deref())?;
    let fields = posted::read(&app, request).await?;
    let field = |name: &str| fields.get(name).map(|text| text.trim()).unwrap_or_default();
    let (token, next) = (field("token"), own(field("next")));
    let code = field("code");
    if !code.is_empty() {
        return by_link(&app, (&caller, &trail), &headers, code, &next).await;
    }
    if let Err(error) = auth::sign_in(&app, (&caller, &trail), &headers, token).await {
        if error.status() != StatusCode::UNAUTHORIZED {
            return Err(Failure::from(error));
        }
        let mut again = layout::bare(
            "Sign in",
            &form(&app, &next, Some("This token is not known. Check that it is whole.")),
        );
        *again.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(again);
    }
    begin(&app, &headers, token_digest(token.as_bytes()), &next).await
}

/// Begins a session by a one-time link.
async fn by_link(
    app: &App,
    origin: (&Caller, &Trail),
    headers: &HeaderMap,
    code: &str,
    next: &str,
) -> PageResult {
    let Some((token, grant)) = app.handle.use_link(code).await? else {
        let message = "This link was used before, or is too old. Get a new one with `reposync console`.";
        let mut again = layout::bare("Sign in", &form(app, next, Some(message)));
        *again.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(again);
    };
    auth::admit_page(app, origin, headers, &grant)?;
    begin(app, headers, token, next).await
}

async fn begin(app: &App, headers: &HeaderMap, token: TokenDigest, next: &str) -> PageResult {
    let secret = app.handle.begin_session(token).await?;
    Ok(([(header::SET_COOKIE, cookie::set(&secret, is_secure(app, headers)))], Redirect::to(next))
        .into_response())
}

/// True if the browser speaks TLS, with the daemon or with a reverse proxy.
fn is_secure(app: &App, headers: &HeaderMap) -> bool {
    let origin = headers.get(header::ORIGIN).map(HeaderValue::as_bytes);
    app.is_tls || origin.is_some_and(|origin| origin.starts_with(b"https://"))
}

/// Ends the session.
pub(super) async fn sign_out(State(app): State<App>, headers: HeaderMap, _posted: Posted) -> PageResult {
    if let Some(secret) = cookie::of(&headers) {
        app.handle.end_session(secret).await?;
    }
    let removed = cookie::set("", is_secure(&app, &headers));
    Ok(([(header::SET_COOKIE, removed)], Redirect::to("/console/sign-in")).into_response())
}

/// A page of the console; the overview for any other address, so that a link cannot lead elsewhere.
fn own(next: &str) -> String {
    let is_own = next == "/console" || next.starts_with("/console/") || next.starts_with("/console?");
    let is_plain = !next.contains(['\\', '\r', '\n']) && !next.contains("..");
    if is_own && is_plain { next.to_owned() } else { "/console".to_owned() }
}

/// The page of a one-time link.
fn link(next: &str, code: &str) -> Markup {
    html! {
        main.sign-in id="main" {
            div.card {
                (layout::brand())
                h1 { "Sign in" }
                form method="post" action="/console/sign-in" {
                    input type="hidden" name="next" value=(next);
                    input type="hidden" name="code" value=(code);
                    button.primary type="submit" autofocus { "Sign in" }
                }
                p.muted { "This link works once, and for ten minutes." }
            }
        }
    }
}

fn form(app: &App, next: &str, error: Option<&str>) -> Markup {
    let view = app.handle.view();
    html! {
        main.sign-in id="main" {
            div.card {
                (layout::brand())
                h1 { "Sign in" }
                form method="post" action="/console/sign-in" {
                    @if let Some(error) = error {
                        div.callout.bad role="alert" { (error) }
                    }
                    input type="hidden" name="next" value=(next);
                    label {
                        "Token of the API"
                        input type="password" name="token" required autofocus autocomplete="current-password" spellcheck="false";
                    }
                    button.primary type="submit" { "Sign in" }
                }
                p.muted {
                    @if view.tokens().file().is_some() && !view.tokens().has_named() {
                        "The daemon keeps its token in the file " code { "state.db.token" } " next to the ledger."
                    } @else {
                        "A token of " code { "[api]" } " in " code { "reposync.toml" } ". It decides what you can see and do here."
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signing_in_leads_to_pages_of_the_console_alone() {
        for own_page in ["/console", "/console/runs/1?x=2", "/console?state=failed"] {
            assert_eq!(own(own_page), own_page);
        }
        for other in [
            "",
            "/",
            "/consolex",
            "//evil.example",
            "https://evil.example",
            "/console/../x",
            "/console/\\evil",
            "/console/\r\nx",
        ] {
            assert_eq!(own(other), "/console", "{other}");
        }
    }
}
