//! `POST /webhooks/github`: deliveries of GitHub. What can be refused by its head alone is refused before
//! the body is read; nothing is remembered of an unsigned delivery.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::{Extension, Json};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use sha2::Sha256;
use utoipa::ToSchema;

use super::App;
use super::audit::Trail;
use super::budget::{Held, Unread};
use super::error::{ApiError, ApiResult, ErrorBody};
use super::payload::{matters, read};
use super::serve::Caller;

/// Bytes that are parsed in far less than a millisecond; larger payloads are parsed by the threads
/// that do the daemon's work.
const AT_ONCE: usize = 64 << 10;
/// Bytes of a SHA-256 digest.
const DIGEST: usize = 32;

/// What became of a delivery.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WebhookBody {
    /// `pong`, `accepted` or `ignored`.
    result: &'static str,
    /// The projects that will be run.
    projects: Vec<String>,
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
pub(super) async fn github(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Extension(trail): Extension<Trail>,
    request: Request,
) -> ApiResult<(StatusCode, Json<WebhookBody>)> {
    let view = app.handle.view();
    let secret = view.api().webhook_secret.as_ref();
    let secret = secret.ok_or_else(|| ApiError::not_found("there is no such route"))?;
    let (parts, body) = request.into_parts();
    let event = text(&parts.headers, "x-github-event").to_owned();
    let Some(signature) = signature(text(&parts.headers, "x-hub-signature-256")) else {
        let message = "`X-Hub-Signature-256` is not `sha256=` and 64 hex digits";
        return Err(refused(&app, &caller, "unsigned", ApiError::unauthorized(message)));
    };
    if event != "ping" && !matters(&event) {
        app.metrics.webhook("ignored");
        return Ok(answer(StatusCode::OK, "ignored", Vec::new()));
    }
    let mut mac = mac(secret.expose().as_bytes());
    let body = receive(&app, &caller, body, |part| mac.update(part)).await?;
    if mac.verify_slice(&signature).is_err() {
        let message = "`X-Hub-Signature-256` is not that of `[api] webhook_secret`";
        return Err(refused(&app, &caller, "unsigned", ApiError::unauthorized(message)));
    }
    if event == "ping" {
        return Ok(answer(StatusCode::OK, "pong", Vec::new()));
    }
    let is_form = is_form(&parts.headers);
    let push = if body.len() <= AT_ONCE {
        read(&event, &body, is_form)
    } else {
        let reading = app.workers.spawn_blocking(move || read(&event, &body, is_form));
        reading.await.map_err(|_| ApiError::stopping())?
    };
    let projects = match push? {
        Some(push) => app.handle.push(push).await,
        None => Vec::new(),
    };
    if projects.is_empty() {
        app.metrics.webhook("ignored");
        return Ok(answer(StatusCode::OK, "ignored", projects));
    }
    trail.accepted("webhook");
    trail.about(&projects.join(", "));
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

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// GitHub's default for new webhooks is a form.
fn is_form(headers: &HeaderMap) -> bool {
    let content_type = text(headers, header::CONTENT_TYPE.as_str());
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// The digest in `sha256=` and 64 hex digits; none for anything else.
fn signature(text: &str) -> Option<[u8; DIGEST]> {
    let mut digest = [0; DIGEST];
    hex::decode_to_slice(text.strip_prefix("sha256=")?, &mut digest).ok()?;
    Some(digest)
}

/// The HMAC of the raw body, which is compared in constant time.
fn mac(secret: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret).expect("HMAC takes a key of any length")
}

/// A fuzz target: the event, a newline, the signature, a newline, the payload.
#[cfg(any(test, fuzzing))]
pub fn fuzz(bytes: &[u8]) {
    const KEY: &[u8] = b"key";
    let mut parts = bytes.splitn(3, |&byte| byte == b'\n');
    let mut line = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (event, given) = (line(), line());
    let body = parts.next().unwrap_or_default();
    let ours = mac(KEY).chain_update(body).finalize();
    let ours = format!("sha256={}", hex::encode(ours.into_bytes()));
    let is_signed = |text: &str| {
        let signature = signature(text);
        signature.is_some_and(|signature| mac(KEY).chain_update(body).verify_slice(&signature).is_ok())
    };
    assert!(is_signed(&ours), "signed with the secret");
    assert_eq!(is_signed(&given), given.eq_ignore_ascii_case(&ours) && given.starts_with("sha256="));
    for push in [false, true].into_iter().filter_map(|is_form| read(&event, body, is_form).ok().flatten()) {
        assert!(
            push.repository.is_none_or(|name| name.starts_with(&push.owner)),
            "the owner of the repository"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"It's a Secret to Everybody";
    const SIGNATURE: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    #[test]
    fn the_documented_signature_and_no_other() {
        let is_signed = |body: &str, text: &str| {
            let signature = signature(text).expect("well-formed");
            mac(SECRET).chain_update(body).verify_slice(&signature).is_ok()
        };
        assert!(is_signed("Hello, World!", SIGNATURE));
        assert!(!is_signed("Hello, World?", SIGNATURE));
        assert!(!is_signed("Hello, World!", &SIGNATURE.replace("757", "857")));
    }

    #[test]
    fn a_malformed_signature_is_none() {
        for text in [
            "",
            "sha256=",
            &SIGNATURE[..SIGNATURE.len() - 2],
            &format!("{SIGNATURE}00"),
            &SIGNATURE.replace("sha256", "sha1"),
            &SIGNATURE.replace("757", "zzz"),
        ] {
            assert_eq!(signature(text), None, "{text}");
        }
    }

    #[test]
    fn a_form_is_known_by_its_content_type() {
        for (value, expected) in [
            ("application/x-www-form-urlencoded", true),
            ("Application/X-WWW-Form-Urlencoded; charset=utf-8", true),
            ("application/json", false),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, value.parse().expect("a value"))]);
            assert_eq!(is_form(&headers), expected, "{value}");
        }
        assert!(!is_form(&HeaderMap::new()));
    }
}
