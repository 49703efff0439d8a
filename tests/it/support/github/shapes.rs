//! The JSON bodies of GitHub's answers, complete enough for its OpenAPI file.

use serde_json::{Map, Value, json};

use super::Repo;

const REPOSITORY_URLS: [&str; 37] = [
    "archive",
    "assignees",
    "blobs",
    "branches",
    "collaborators",
    "comments",
    "commits",
    "compare",
    "contents",
    "contributors",
    "deployments",
    "downloads",
    "events",
    "forks",
    "git_commits",
    "git_refs",
    "git_tags",
    "hooks",
    "html",
    "issue_comment",
    "issue_events",
    "issues",
    "keys",
    "labels",
    "languages",
    "merges",
    "milestones",
    "notifications",
    "pulls",
    "releases",
    "stargazers",
    "statuses",
    "subscribers",
    "subscription",
    "tags",
    "teams",
    "trees",
];
const USER_URLS: [&str; 12] = [
    "avatar",
    "events",
    "followers",
    "following",
    "gists",
    "html",
    "organizations",
    "received_events",
    "repos",
    "starred",
    "subscriptions",
    "x",
];

fn urls(base: &str, names: &[&str]) -> Map<String, Value> {
    names.iter().map(|name| (format!("{name}_url"), json!(format!("{base}/{name}")))).collect()
}

/// A user or an organization.
pub(super) fn user(base: &str, login: &str, kind: &str) -> Value {
    let mut user = urls(&format!("{base}/users/{login}"), &USER_URLS);
    user.extend([
        ("login".into(), json!(login)),
        ("id".into(), json!(login.len())),
        ("node_id".into(), json!("n")),
        ("gravatar_id".into(), json!("")),
        ("site_admin".into(), json!(false)),
        ("type".into(), json!(kind)),
        ("url".into(), json!(format!("{base}/users/{login}"))),
    ]);
    Value::Object(user)
}

/// A repository; `full` as GET of a single one returns it.
pub(super) fn repository(base: &str, repo: &Repo, kind: &str, full: bool) -> Value {
    let (owner, name) = repo.full_name.split_once('/').expect("owner/name");
    let here = format!("{base}/repos/{}", repo.full_name);
    let mut value = urls(&here, &REPOSITORY_URLS);
    let plain = json!({
        "id": repo.id, "node_id": "n", "name": name, "full_name": repo.full_name,
        "owner": user(base, owner, kind), "private": repo.private,
        "description": repo.description, "topics": repo.topics, "fork": repo.fork,
        "archived": repo.archived, "disabled": false, "default_branch": repo.default_branch,
        "pushed_at": repo.pushed_at, "created_at": "2020-01-01T00:00:00Z",
        "updated_at": "2020-01-01T00:00:00Z", "url": here, "visibility": "public",
        "clone_url": here, "git_url": here, "ssh_url": here, "svn_url": here, "mirror_url": null,
        "homepage": null, "language": null, "license": null, "size": 1,
        "forks": 0, "forks_count": 0, "open_issues": 0, "open_issues_count": 0,
        "stargazers_count": 0, "watchers": 0, "watchers_count": 0,
        "has_issues": true, "has_projects": true, "has_wiki": true, "has_pages": false,
        "has_discussions": false, "has_downloads": true,
    });
    if let Value::Object(plain) = plain {
        value.extend(plain);
    }
    if full {
        value.insert("network_count".into(), json!(0));
        value.insert("subscribers_count".into(), json!(0));
    }
    Value::Object(value)
}

/// A commit, of which clients read only the id.
pub(super) fn commit(base: &str, sha: &str) -> Value {
    let url = format!("{base}/commits/{sha}");
    let person = json!({ "name": "Ada", "email": "ada@example.com", "date": "2026-01-02T03:04:05Z" });
    json!({
        "url": url, "sha": sha, "node_id": "n", "html_url": url, "comments_url": url,
        "author": null, "committer": null, "parents": [],
        "commit": {
            "url": url, "author": person, "committer": person, "message": "m", "comment_count": 0,
            "tree": { "sha": sha, "url": url },
        },
    })
}

/// One file of a comparison.
pub(super) fn compared_file(base: &str, status: &str, path: &str, from: Option<&str>, sha: &str) -> Value {
    let mut file = json!({
        "sha": sha, "filename": path, "status": status, "additions": 0, "deletions": 0, "changes": 0,
        "blob_url": base, "raw_url": base, "contents_url": base,
    });
    if let Some(from) = from {
        file["previous_filename"] = json!(from);
    }
    file
}

/// The body of an error.
pub(super) fn error(message: &str) -> Value {
    json!({ "message": message, "documentation_url": "https://docs.github.com/rest", "status": "400" })
}
