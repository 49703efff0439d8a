//! GitHub's webhook deliveries: which repository and branch they are about.

use http::{HeaderMap, header};
use serde::Deserialize;

use crate::model::{Push, PushSubject};
use crate::source::{SIGNATURE_BYTES, Webhook, WebhookEvent};

/// The header with the name of the event.
const EVENT: &str = "x-github-event";
/// The header with the HMAC of the body.
const SIGNATURE: &str = "X-Hub-Signature-256";

/// The fields that are read, of all events that matter.
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

/// The deliveries of GitHub.
pub(super) struct GithubWebhook;

impl Webhook for GithubWebhook {
    fn signature_header(&self) -> &'static str {
        SIGNATURE
    }

    fn signature(&self, headers: &HeaderMap) -> Result<[u8; SIGNATURE_BYTES], String> {
        let digits = text(headers, SIGNATURE).strip_prefix("sha256=");
        let mut digest = [0; SIGNATURE_BYTES];
        match digits.map(|digits| hex::decode_to_slice(digits, &mut digest)) {
            Some(Ok(())) => Ok(digest),
            _ => Err(format!("`{SIGNATURE}` is not `sha256=` and 64 hex digits")),
        }
    }

    fn event(&self, headers: &HeaderMap) -> WebhookEvent {
        match text(headers, EVENT) {
            "ping" => WebhookEvent::Ping,
            "push"
            | "create"
            | "delete"
            | "repository"
            | "public"
            | "installation"
            | "installation_repositories" => WebhookEvent::Relevant,
            _ => WebhookEvent::Irrelevant,
        }
    }

    fn read(&self, headers: &HeaderMap, body: &[u8]) -> Result<Option<Push>, String> {
        if self.event(headers) != WebhookEvent::Relevant {
            return Ok(None);
        }
        let event = text(headers, EVENT);
        let is_form = is_form(headers);
        let mut form = url::form_urlencoded::parse(if is_form { body } else { &[] });
        let field = form.find(|(name, _)| name == "payload").map(|(_, value)| value);
        if is_form && field.is_none() {
            return Err("a form without the field `payload`".to_owned());
        }
        let json = field.as_ref().map_or(body, |field| field.as_bytes());
        let payload =
            serde_json::from_slice(json).map_err(|error| format!("not the payload of `{event}`: {error}"))?;
        Ok(push(event, payload))
    }
}

/// What an event means for projects; `None`: nothing.
fn push(event: &str, payload: Payload) -> Option<Push> {
    let installed = payload.installation.and_then(|installation| installation.account);
    let default = payload.repository.as_ref().and_then(|repository| repository.default_branch.clone());
    let subject = match (payload.repository, payload.organization.or(installed)) {
        (Some(repository), _) => PushSubject::Repository(repository.full_name),
        (None, Some(owner)) => PushSubject::Owner(owner.login),
        (None, None) => return None,
    };
    let branch = match event {
        // Anything else is a tag.
        "push" => Some(payload.r#ref?.strip_prefix("refs/heads/")?.to_owned()),
        "create" | "delete" if payload.ref_type.as_deref() != Some("branch") => return None,
        "create" | "delete" => payload.r#ref,
        _ => None,
    };
    let branch = branch.map(|branch| {
        // Where the payload does not tell the default branch, any may be it.
        let is_default = default.is_none_or(|default| default == branch);
        (branch, is_default)
    });
    let head = |sha: Option<String>| sha.filter(|sha| sha.bytes().any(|byte| byte != b'0'));
    let (before, after) = (head(payload.before), head(payload.after));
    // A deleted branch has no head to wait for.
    let before = before.filter(|before| after.is_some() && after.as_ref() != Some(before));
    Some(Push { subject, branch, before })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
            .collect()
    }

    fn read(event: &str, body: &str, is_form: bool) -> Result<Option<Push>, String> {
        let media_type = if is_form { "application/x-www-form-urlencoded" } else { "application/json" };
        GithubWebhook.read(&headers(&[(EVENT, event), ("content-type", media_type)]), body.as_bytes())
    }

    fn push(event: &str, payload: &serde_json::Value) -> Option<Push> {
        let json = payload.to_string();
        let read_json = read(event, &json, false).expect("a payload");
        let form: String =
            url::form_urlencoded::Serializer::new("x=1&".to_owned()).append_pair("payload", &json).finish();
        assert_eq!(read(event, &form, true).expect("a payload"), read_json, "{form}");
        read_json
    }

    #[test]
    fn events_that_matter_name_what_changed_and_the_branch() {
        let repository = serde_json::json!({"full_name": "acme/docs", "default_branch": "main"});
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        let full =
            serde_json::json!({"ref": "refs/heads/main", "before": a, "after": b, "repository": repository});
        let expected = Push {
            subject: PushSubject::Repository("acme/docs".into()),
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
        let all = Push { subject: PushSubject::Owner("acme".into()), branch: None, before: None };
        assert_eq!(push("installation_repositories", &installed), Some(all));
        assert_eq!(push("star", &serde_json::json!({})), None);
        for (body, is_form) in [
            ("not json", false),
            ("payload={}", false),
            ("{}", true),
            ("payload=", true),
            ("payload=%7B", true),
        ] {
            assert!(read("push", body, is_form).is_err(), "{body}");
        }
    }

    #[test]
    fn a_signature_is_well_formed_or_refused() {
        let digits = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let read = |text: &str| GithubWebhook.signature(&headers(&[("x-hub-signature-256", text)]));
        assert_eq!(read(&format!("sha256={digits}")).map(hex::encode).as_deref(), Ok(digits));
        for text in [
            String::new(),
            "sha256=".to_owned(),
            format!("sha256={}", &digits[2..]),
            format!("sha256={digits}00"),
            format!("sha1={digits}"),
            format!("sha256={}", digits.replace("757", "zzz")),
        ] {
            assert!(read(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_form_is_known_by_its_content_type() {
        for (value, expected) in [
            ("application/x-www-form-urlencoded", true),
            ("Application/X-WWW-Form-Urlencoded; charset=utf-8", true),
            ("application/json", false),
        ] {
            assert_eq!(is_form(&headers(&[("content-type", value)])), expected, "{value}");
        }
        assert!(!is_form(&HeaderMap::new()));
    }
}
