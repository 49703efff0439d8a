//! `POST /webhooks/github`: what GitHub tells. Signed or not listened to; answered at once, whatever
//! is running; nothing is remembered of an unsigned request.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use utoipa::ToSchema;

use super::App;
use super::error::{ApiError, ApiResult, ErrorBody};
use super::extract::Raw;
use crate::daemon::Push;

/// Bytes that are hashed in far less than a millisecond; deliveries are smaller as a rule.
const AT_ONCE: usize = 64 << 10;

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
    request_body(content = Object, content_type = "application/json"),
    responses((status = 200, description = "a ping, or an event of no concern", body = WebhookBody),
        (status = 202, description = "projects will be run", body = WebhookBody),
        (status = 400, body = ErrorBody), (status = 401, description = "not signed with the secret", body = ErrorBody),
        (status = 404, description = "there is no `[api] webhook_secret`", body = ErrorBody),
        (status = 413, description = "more than 25 MiB", body = ErrorBody)))]
pub(super) async fn github(
    State(app): State<App>,
    headers: HeaderMap,
    body: ApiResult<Raw>,
) -> ApiResult<(StatusCode, Json<WebhookBody>)> {
    let view = app.handle.view();
    let secret = view.api().webhook_secret.as_ref();
    let secret = secret.ok_or_else(|| ApiError::not_found("there is no such route"))?;
    let Raw(body) = body?;
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let check = {
        let (secret, body) = (secret.clone(), body.clone());
        let signature = header("x-hub-signature-256").to_owned();
        move || is_signed(secret.expose().as_bytes(), &body, &signature)
    };
    // Anybody may send a large one: hashing it is not done where probes are answered.
    let signed = match body.len() {
        0..=AT_ONCE => check(),
        _ => app.workers.spawn_blocking(check).await.unwrap_or(false),
    };
    if !signed {
        app.metrics.webhook("unsigned");
        return Err(ApiError::unauthorized("`X-Hub-Signature-256` is not that of `[api] webhook_secret`"));
    }
    let event = header("x-github-event");
    if event == "ping" {
        return Ok(answer(StatusCode::OK, "pong", Vec::new()));
    }
    let projects = match read(event, &body)? {
        Some(push) => app.handle.push(push).await,
        None => Vec::new(),
    };
    if projects.is_empty() {
        app.metrics.webhook("ignored");
        return Ok(answer(StatusCode::OK, "ignored", projects));
    }
    app.metrics.webhook("accepted");
    Ok(answer(StatusCode::ACCEPTED, "accepted", projects))
}

fn answer(
    status: StatusCode,
    result: &'static str,
    projects: Vec<String>,
) -> (StatusCode, Json<WebhookBody>) {
    (status, Json(WebhookBody { result, projects }))
}

/// True for `sha256=` and the hex HMAC of the raw body; compared in constant time.
fn is_signed(secret: &[u8], body: &[u8], signature: &str) -> bool {
    let Some(given) = signature.strip_prefix("sha256=").and_then(|hex| hex::decode(hex).ok()) else {
        return false;
    };
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return false };
    mac.update(body);
    mac.verify_slice(&given).is_ok()
}

/// The fields that matter of all events that matter.
#[derive(Deserialize)]
struct Payload {
    r#ref: Option<String>,
    ref_type: Option<String>,
    before: Option<String>,
    after: Option<String>,
    repository: Option<Repository>,
    organization: Option<Account>,
    installation: Option<Installation>,
}

#[derive(Deserialize)]
struct Repository {
    full_name: String,
    default_branch: Option<String>,
}

#[derive(Deserialize)]
struct Account {
    login: String,
}

#[derive(Deserialize)]
struct Installation {
    account: Option<Account>,
}

/// What an event means for projects; none: nothing.
fn read(event: &str, body: &[u8]) -> ApiResult<Option<Push>> {
    let matters = matches!(
        event,
        "push" | "create" | "delete" | "repository" | "public" | "installation" | "installation_repositories"
    );
    if !matters {
        return Ok(None);
    }
    let payload: Payload = serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request(format!("not the payload of `{event}`: {error}")))?;
    let repository = payload.repository.as_ref();
    let owner = repository
        .and_then(|repository| repository.full_name.split('/').next())
        .or(payload.organization.as_ref().map(|account| account.login.as_str()))
        .or(payload
            .installation
            .as_ref()
            .and_then(|installation| Some(installation.account.as_ref()?.login.as_str())));
    let Some(owner) = owner else { return Ok(None) };
    let branch = match event {
        "push" => match payload.r#ref.as_deref().and_then(|name| name.strip_prefix("refs/heads/")) {
            Some(branch) => Some(branch),
            None => return Ok(None), // a tag
        },
        "create" | "delete" if payload.ref_type.as_deref() != Some("branch") => return Ok(None),
        "create" | "delete" => payload.r#ref.as_deref(),
        _ => None,
    };
    let default = repository.and_then(|repository| repository.default_branch.as_deref());
    // Where the payload does not tell the default branch, any may be it.
    let branch = branch.map(|branch| (branch.to_owned(), default.is_none_or(|default| default == branch)));
    let head = |sha: Option<String>| sha.filter(|sha| sha.bytes().any(|byte| byte != b'0'));
    let (before, after) = (head(payload.before), head(payload.after));
    // A deleted branch has no head to wait for.
    let before = before.filter(|before| after.is_some() && after.as_ref() != Some(before));
    Ok(Some(Push {
        owner: owner.to_owned(),
        repository: payload.repository.map(|repository| repository.full_name),
        branch,
        before,
    }))
}

/// A fuzz target: the event, a newline, the signature, a newline, the payload.
#[cfg(any(test, fuzzing))]
pub fn fuzz(bytes: &[u8]) {
    const KEY: &[u8] = b"key";
    let mut parts = bytes.splitn(3, |&byte| byte == b'\n');
    let mut line = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (event, signature) = (line(), line());
    let body = parts.next().unwrap_or_default();
    let ours = Hmac::<Sha256>::new_from_slice(KEY).expect("any length serves").chain_update(body).finalize();
    let ours = format!("sha256={}", hex::encode(ours.into_bytes()));
    assert!(is_signed(KEY, body, &ours), "signed with the secret");
    assert_eq!(
        is_signed(KEY, body, &signature),
        signature.eq_ignore_ascii_case(&ours) && signature.starts_with("sha256=")
    );
    if let Ok(Some(push)) = read(&event, body) {
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
        assert!(is_signed(SECRET, b"Hello, World!", SIGNATURE));
        for (body, signature) in [
            ("Hello, World?", SIGNATURE),
            ("Hello, World!", ""),
            ("Hello, World!", "sha256="),
            ("Hello, World!", &SIGNATURE[..SIGNATURE.len() - 2]),
            ("Hello, World!", &SIGNATURE.replace("sha256", "sha1")),
            ("Hello, World!", &SIGNATURE.replace("757", "857")),
            ("Hello, World!", "sha256=zz"),
        ] {
            assert!(!is_signed(SECRET, body.as_bytes(), signature), "{signature}");
        }
    }

    fn push(event: &str, payload: &serde_json::Value) -> Option<Push> {
        read(event, payload.to_string().as_bytes()).expect("a payload")
    }

    #[test]
    fn events_that_matter_name_owner_repository_and_branch() {
        let repository = serde_json::json!({"full_name": "acme/docs", "default_branch": "main"});
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        let full =
            serde_json::json!({"ref": "refs/heads/main", "before": a, "after": b, "repository": repository});
        let expected = Push {
            owner: "acme".into(),
            repository: Some("acme/docs".into()),
            branch: Some(("main".into(), true)),
            before: Some(a.clone()),
        };
        assert_eq!(push("push", &full), Some(expected.clone()));
        let tag = serde_json::json!({"ref": "refs/tags/v1", "repository": repository});
        assert_eq!(push("push", &tag), None);
        let other = serde_json::json!({"ref": "refs/heads/x/y", "before": "0".repeat(40), "after": b, "repository": repository});
        let branch = Some(("x/y".into(), false));
        assert_eq!(push("push", &other), Some(Push { branch, before: None, ..expected.clone() }));
        let renamed = serde_json::json!({"action": "renamed", "repository": repository});
        assert_eq!(push("repository", &renamed), Some(Push { branch: None, before: None, ..expected }));
        let installed = serde_json::json!({"installation": {"id": 1, "account": {"login": "acme"}}});
        let all = Push { owner: "acme".into(), repository: None, branch: None, before: None };
        assert_eq!(push("installation_repositories", &installed), Some(all));
        assert_eq!(push("star", &serde_json::json!({})), None);
        assert!(read("push", b"not json").is_err());
    }
}
