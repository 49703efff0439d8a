//! `POST /webhooks/KIND`: deliveries of the hosts of sources. What can be refused by its head alone is
//! refused before the body is read; nothing is remembered of an unsigned delivery.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
#[cfg(any(test, fuzzing))]
use axum::http::{HeaderMap, HeaderName};
use axum::routing::post;
use axum::{Extension, Json, Router};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use sha2::Sha256;
use utoipa::ToSchema;

use super::App;
use super::audit::Trail;
use super::budget::{Held, Unread};
use super::error::{ApiError, ApiResult, ErrorBody};
use super::serve::Caller;
use crate::daemon::{Webhook, WebhookEvent, webhooks};

/// Bytes that are parsed in far less than a millisecond; larger payloads are parsed by the threads
/// that do the daemon's work.
const AT_ONCE: usize = 64 << 10;

/// What became of a delivery.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WebhookBody {
    /// `pong`, `accepted` or `ignored`.
    result: &'static str,
    /// The projects that will be run.
    projects: Vec<String>,
}

/// A kind of source, and how the deliveries of its host are read.
#[derive(Clone, Copy)]
pub(super) struct Hook {
    kind: &'static str,
    webhook: &'static dyn Webhook,
}

/// One route for each kind of source whose host delivers webhooks.
pub(super) fn routes() -> Router<App> {
    webhooks().fold(Router::new(), |router, (kind, webhook)| {
        let delivery = post(deliver).layer(Extension(Hook { kind, webhook }));
        router.route(&format!("/webhooks/{kind}"), delivery)
    })
}

/// A delivery of GitHub. Needs its signature instead of the token.
#[utoipa::path(post, path = "/webhooks/github", tag = "webhooks", security(()),
    params(("X-GitHub-Event" = String, Header, description = "the event"),
        ("X-Hub-Signature-256" = String, Header, description = "`sha256=` and the HMAC of the raw body")),
    request_body(description = "JSON, or a form with the JSON in its field `payload`",
        content((Object = "application/json"), (String = "application/x-www-form-urlencoded"))),
    responses((status = 200, description = "a ping, or an event of no concern", body = WebhookBody),
        (status = 202, description = "projects will be run", body = WebhookBody),
        (status = 400, body = ErrorBody), (status = 401, description = "not signed with the secret", body = ErrorBody),
        (status = 404, description = "there is no `[api] webhook_secret`", body = ErrorBody),
        (status = 408, description = "the body did not arrive", body = ErrorBody),
        (status = 413, description = "more than `[api] webhook_max_body`", body = ErrorBody),
        (status = 503, description = "too much arrives at once", body = ErrorBody)))]
pub(super) async fn deliver(
    State(app): State<App>,
    Extension(Hook { kind, webhook }): Extension<Hook>,
    Extension(caller): Extension<Caller>,
    Extension(trail): Extension<Trail>,
    request: Request,
) -> ApiResult<(StatusCode, Json<WebhookBody>)> {
    let view = app.handle.view();
    let secret = view.api().webhook_secret.as_ref();
    let secret = secret.ok_or_else(|| ApiError::not_found("there is no such route"))?;
    let (parts, body) = request.into_parts();
    let event = webhook.event(&parts.headers);
    let signature = webhook
        .signature(&parts.headers)
        .map_err(|why| refused(&app, &caller, "unsigned", ApiError::unauthorized(why)))?;
    if event == WebhookEvent::Irrelevant {
        app.metrics.webhook("ignored");
        return Ok(answer(StatusCode::OK, "ignored", Vec::new()));
    }
    let mut mac = mac(secret.expose().as_bytes());
    let body = receive(&app, &caller, body, |part| mac.update(part)).await?;
    if mac.verify_slice(&signature).is_err() {
        let message = format!("`{}` is not that of `[api] webhook_secret`", webhook.signature_header());
        return Err(refused(&app, &caller, "unsigned", ApiError::unauthorized(message)));
    }
    if event == WebhookEvent::Ping {
        return Ok(answer(StatusCode::OK, "pong", Vec::new()));
    }
    let push = if body.len() <= AT_ONCE {
        webhook.read(&parts.headers, &body)
    } else {
        let reading = app.workers.spawn_blocking(move || webhook.read(&parts.headers, &body));
        reading.await.map_err(|_| ApiError::stopping())?
    };
    let projects = match push.map_err(ApiError::bad_request)? {
        Some(push) => app.handle.push(kind, push).await,
        None => Vec::new(),
    };
    if projects.is_empty() {
        app.metrics.webhook("ignored");
        return Ok(answer(StatusCode::OK, "ignored", projects));
    }
    trail.accepted("webhook");
    trail.about(&projects);
    app.metrics.webhook("accepted");
    Ok(answer(StatusCode::ACCEPTED, "accepted", projects))
}

/// Reads the body within the memory that all unsigned bodies share.
async fn receive(app: &App, caller: &Caller, body: Body, seen: impl FnMut(&[u8])) -> ApiResult<Held> {
    let most = usize::try_from(app.handle.view().api().webhook_max_body.0).unwrap_or(usize::MAX);
    let budget = app.unsigned.of(caller.address());
    budget.read(body, most, seen).await.map_err(|unread| {
        let error = ApiError::unread(&unread, most);
        match unread {
            Unread::TooLarge => refused(app, caller, "too_large", error),
            Unread::Busy => refused(app, caller, "busy", error),
            Unread::Stalled => refused(app, caller, "timeout", error),
            Unread::Broken(_) => error,
        }
    })
}

/// Counts and logs a delivery that is refused.
fn refused(app: &App, caller: &Caller, outcome: &'static str, error: ApiError) -> ApiError {
    app.metrics.webhook(outcome);
    let noted = app.throttle.note(outcome, caller.address());
    if noted.log {
        let (address, unlogged) = (caller.address(), noted.unlogged);
        tracing::warn!(%address, outcome, unlogged, "a webhook delivery was refused");
    }
    error
}

fn answer(
    status: StatusCode,
    result: &'static str,
    projects: Vec<String>,
) -> (StatusCode, Json<WebhookBody>) {
    (status, Json(WebhookBody { result, projects }))
}

/// The HMAC of the raw body, which is compared in constant time.
fn mac(secret: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret).expect("HMAC takes a key of any length")
}

/// A fuzz target: the event, a newline, the signature, a newline, the payload.
#[cfg(any(test, fuzzing))]
pub fn fuzz(bytes: &[u8]) {
    const KEY: &[u8] = b"key";
    let (_, github) = webhooks().find(|(kind, _)| *kind == "github").expect("a kind with a webhook");
    let mut parts = bytes.splitn(3, |&byte| byte == b'\n');
    let mut line = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (event, given) = (line(), line());
    let body = parts.next().unwrap_or_default();
    let headers = |list: &[(&'static str, &str)]| -> HeaderMap {
        let header =
            |(name, value): &(&'static str, &str)| Some((HeaderName::from_static(name), value.parse().ok()?));
        list.iter().filter_map(header).collect()
    };
    let media_types = ["application/json", "application/x-www-form-urlencoded"];
    let is_signed = |text: &str| {
        let signature = github.signature(&headers(&[("x-hub-signature-256", text)]));
        signature.is_ok_and(|signature| mac(KEY).chain_update(body).verify_slice(&signature).is_ok())
    };
    let ours = mac(KEY).chain_update(body).finalize();
    let ours = format!("sha256={}", hex::encode(ours.into_bytes()));
    assert!(is_signed(&ours), "signed with the secret");
    assert_eq!(is_signed(&given), given.eq_ignore_ascii_case(&ours) && given.starts_with("sha256="));
    for media_type in media_types {
        let headers = headers(&[("x-github-event", &event), ("content-type", media_type)]);
        if let Ok(Some(push)) = github.read(&headers, body) {
            assert!(event != "push" || push.branch.is_some(), "a push is one to a branch: {push:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"It's a Secret to Everybody";
    const SIGNATURE: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    #[test]
    fn the_documented_signature_and_no_other() {
        let is_signed = |body: &str, text: &str| {
            let signature = hex::decode(text).expect("digits");
            mac(SECRET).chain_update(body).verify_slice(&signature).is_ok()
        };
        assert!(is_signed("Hello, World!", SIGNATURE));
        assert!(!is_signed("Hello, World?", SIGNATURE));
        assert!(!is_signed("Hello, World!", &SIGNATURE.replace("757", "857")));
    }
}
