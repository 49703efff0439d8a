//! The payload of a GitHub webhook delivery: which repository and branch it is about.

use serde::Deserialize;

use super::error::{ApiError, ApiResult};
use crate::daemon::Push;

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

/// True for an event that may mean something for a project.
pub(super) fn matters(event: &str) -> bool {
    matches!(
        event,
        "push" | "create" | "delete" | "repository" | "public" | "installation" | "installation_repositories"
    )
}

/// What an event means for projects; none: nothing. The body is JSON, or with `is_form` a form whose
/// field `payload` is that JSON.
pub(super) fn read(event: &str, body: &[u8], is_form: bool) -> ApiResult<Option<Push>> {
    if !matters(event) {
        return Ok(None);
    }
    let mut form = url::form_urlencoded::parse(if is_form { body } else { &[] });
    let field = form.find(|(name, _)| name == "payload").map(|(_, value)| value);
    if is_form && field.is_none() {
        return Err(ApiError::bad_request("a form without the field `payload`"));
    }
    let json = field.as_ref().map_or(body, |field| field.as_bytes());
    let payload: Payload = serde_json::from_slice(json)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn push(event: &str, payload: &serde_json::Value) -> Option<Push> {
        let json = payload.to_string();
        let read_json = read(event, json.as_bytes(), false).expect("a payload");
        let form: String =
            url::form_urlencoded::Serializer::new("x=1&".to_owned()).append_pair("payload", &json).finish();
        assert_eq!(read(event, form.as_bytes(), true).expect("a payload"), read_json, "{form}");
        read_json
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
        for (body, is_form) in [
            ("not json", false),
            ("payload={}", false),
            ("{}", true),
            ("payload=", true),
            ("payload=%7B", true),
        ] {
            assert!(read("push", body.as_bytes(), is_form).is_err(), "{body}");
        }
    }
}
