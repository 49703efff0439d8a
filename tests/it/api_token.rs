//! The token that the daemon generates when the file has none: every request needs it, only its user
//! can read it, and the command line uses it.

use serde_json::{Value, json};

use crate::support::daemon::{API, Answer, Daemon, own_token};
use crate::support::local::{Local, project};

const FILE: &str = ".reposync/state.db.token";

#[cfg(unix)]
fn mode(local: &Local) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(local.world.path(FILE)).expect("a token").permissions().mode() & 0o777
}

/// One request of each kind: read, start a run, write, call a service.
fn requests() -> [(&'static str, &'static str, Value); 8] {
    [
        ("GET", "/metrics", Value::Null),
        ("GET", "/projects", Value::Null),
        ("GET", "/content?repo=docs&path=README.md", Value::Null),
        ("POST", "/query", json!({ "query": "where do I start?" })),
        ("POST", "/embeddings", json!({ "texts": ["x"] })),
        ("POST", "/sync", json!({ "allow_deletes": true })),
        ("POST", "/reload", Value::Null),
        ("DELETE", "/delete", json!({ "namespace": "elsewhere", "ids": ["a"] })),
    ]
}

fn ask(daemon: &Daemon, authorization: &str, (method, path, body): &(&str, &str, Value)) -> Answer {
    daemon.request(method, path, &[("Authorization", authorization)], body.to_string().as_bytes())
}

#[test]
fn every_request_needs_the_token_that_the_daemon_made() {
    let (local, mut daemon) = Daemon::of_local();
    let token = daemon.token.clone().expect("a token of its own");
    let path = local.world.path(FILE).canonicalize().expect("the file").display().to_string();
    for request in requests() {
        let (method, route, body) = &request;
        let right = ask(&daemon, &format!("Bearer {token}"), &request);
        assert!((200..300).contains(&right.status), "{method} {route}: {}", right.body);
        // Answers to wrong tokens are delayed, so one of each kind is enough.
        if !matches!(*route, "/metrics" | "/query" | "/embeddings") {
            let wrong = format!("Bearer {}", token.replace(char::is_numeric, "a"));
            let refused = ask(&daemon, &wrong, &request).is(401);
            assert!(refused.body.contains(&path), "{method} {route}: {}", refused.body);
        }
        daemon.token = None;
        let refused = daemon.request(method, route, &[], body.to_string().as_bytes()).is(401);
        assert_eq!(refused.code(), "unauthorized", "{method} {route}");
        assert!(refused.body.contains(&path), "{method} {route}: {}", refused.body);
        // A valid token does not allow requests caused by a web page.
        for page in [("Origin", "https://example.com"), ("Host", "example.com")] {
            let headers = [("Authorization", format!("Bearer {token}")), (page.0, page.1.to_owned())];
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            daemon.request(method, route, &headers, body.to_string().as_bytes()).is(403);
        }
    }
    assert!(daemon.get("/health").is(200).json()["projects"].is_null());
    assert_eq!(daemon.post("/webhooks/github", &json!({})).is(404).code(), "not_found");
    daemon.token = Some(token.clone());
    assert_eq!(daemon.get("/health").is(200).json()["projects"][0]["project"], "docs");
    let record = local.world.read(".reposync/state.db.daemon");
    let said = daemon.stop().stderr;
    assert!(!record.contains(&token) && !said.contains(&token), "{said}");
}

#[test]
#[cfg(unix)]
fn it_is_for_one_user_alone_and_kept_unless_others_could_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let (local, daemon) = Daemon::of_local();
    assert_eq!(mode(&local), 0o600);
    let first = daemon.token.clone();
    daemon.kill();
    let again = Daemon::start(&local.world);
    assert_eq!(again.token, first);
    again.get("/projects").is(200);
    again.stop().exits(0);
    // A run narrows the permissions of files in the folder, but a token that others could have read is
    // replaced even so.
    let wide = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(local.world.path(FILE), wide).expect("set");
    local.apply(&[]).exits(0);
    let daemon = Daemon::start(&local.world);
    assert_eq!(mode(&local), 0o600);
    assert_ne!(daemon.token, first);
    daemon.get("/projects").is(200);
    let old = format!("Bearer {}", first.expect("a token"));
    daemon.request("GET", "/projects", &[("Authorization", &old)], b"").is(401);
}

#[test]
#[cfg(unix)]
fn a_link_in_its_place_is_refused() {
    let local = Local::applied();
    local.config(&project(API));
    local.world.write("elsewhere", "a".repeat(64));
    std::os::unix::fs::symlink(local.world.path("elsewhere"), local.world.path(FILE)).expect("a link");
    let refused = local.world.run(&["daemon"]).exits(1).stderr;
    assert!(refused.contains("state.db.token") && refused.contains("symbolic link"), "{refused}");
    assert_eq!(local.world.read("elsewhere"), "a".repeat(64));
}

#[test]
fn a_token_can_be_added_to_and_removed_from_the_file_without_a_restart() {
    let (local, mut daemon) = Daemon::of_local();
    let own = daemon.token.clone().expect("a token of its own");
    let text = project(&format!("{API}token = \"correct horse\"\n"));
    local.config(&text);
    local.world.ok(&["reload"]);
    daemon.get("/projects").is(401);
    daemon.token = Some("correct horse".to_owned());
    daemon.get("/projects").is(200);
    local.config(&project(API));
    local.world.ok(&["reload"]);
    daemon.get("/projects").is(401);
    daemon.token = Some(own.clone());
    daemon.get("/projects").is(200);
    daemon.stop().exits(0);

    // With `[api] token` in the file, the daemon neither creates nor reads its own token file.
    local.config(&text);
    local.world.write(FILE, "of somebody");
    let mut daemon = Daemon::start(&local.world);
    daemon.token = Some("correct horse".to_owned());
    daemon.get("/projects").is(200);
    assert_eq!(local.world.read(FILE), "of somebody");
    // It is created when it is needed.
    local.config(&project(API));
    local.world.ok(&["reload"]);
    daemon.token = own_token(&local.world);
    assert!(daemon.token.as_ref().is_some_and(|token| token.len() == 64 && *token != own));
    daemon.get("/projects").is(200);
}

/// If no token can be created, an edit that needs one is rejected.
#[test]
fn an_edit_that_leaves_no_token_is_refused() {
    let local = Local::new();
    local.config(&project(&format!("{API}token = \"correct horse\"\n")));
    let mut daemon = Daemon::start(&local.world);
    daemon.token = Some("correct horse".to_owned());
    daemon.until_runs(1);
    std::fs::create_dir(local.world.path(FILE)).expect("a folder in its place");
    local.config(&project(API));
    daemon.until("the refusal", |daemon| daemon.reloads("refused") > 0);
    let problem = daemon.get("/health").is(200).json()["problem"].clone();
    assert!(problem.as_str().is_some_and(|problem| problem.contains("state.db.token")), "{problem}");
    let ran = local.world.run(&["reload"]).exits(1);
    assert!(ran.stderr.contains("state.db.token") && ran.stderr.contains("regular file"), "{}", ran.stderr);
    std::fs::remove_dir(local.world.path(FILE)).expect("removed");
    daemon.until("its own token", |_| own_token(&local.world).is_some());
    daemon.token = own_token(&local.world);
    daemon.until("the token in force", |daemon| daemon.get("/projects").status == 200);
}
