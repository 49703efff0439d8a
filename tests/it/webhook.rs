//! GitHub's webhooks: signed or refused, answered at once, no push lost.

use std::io::Write;
use std::net::{Shutdown, TcpStream};

use hmac::{Hmac, KeyInit, Mac};
use reposync::state::sqlite::RunLock;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::daemon::{API, Answer, Daemon, answer, status_line};
use crate::support::git_repo::GitRepo;
use crate::support::github::{FakeGithub, TOKEN};
use crate::support::local::STAGES;
use crate::support::world::World;

const SECRET: &str = "It's a Secret to Everybody";

struct Hooked {
    github: FakeGithub,
    repo: GitRepo,
    daemon: Daemon,
    world: World,
}

fn start(more: &str) -> Hooked {
    let github = FakeGithub::start();
    let repo = GitRepo::init("docs");
    repo.write("a.md", "The first page.\n").commit("first");
    github.owner("acme", "Organization");
    github.repository("acme/docs", Some(repo.path()));
    let world = World::new().env("SECRET", SECRET).env("GITHUB_TOKEN", TOKEN);
    world.config(&format!(
        "{STAGES}
[stages.github]
kind = \"github\"
token = \"${{GITHUB_TOKEN}}\"
api_url = \"{}\"
[projects.docs]
pipeline = [\"github\", \"prose\", \"model\", \"index\"]
organization = \"acme\"
{more}
{API}webhook_secret = \"${{SECRET}}\"
",
        github.api_url()
    ));
    let mut daemon = Daemon::start(&world);
    daemon.until_runs(1);
    assert_eq!(daemon.runs()[0]["outcome"], "done", "{:?}", daemon.runs());
    Hooked { github, repo, daemon, world }
}

impl Hooked {
    fn deliver(&self, event: &str, payload: &Value) -> Answer {
        deliver(&self.daemon, event, payload)
    }
}

fn deliver(daemon: &Daemon, event: &str, payload: &Value) -> Answer {
    let body = payload.to_string();
    let signature = sign(body.as_bytes());
    let headers =
        [("X-GitHub-Event", event), ("X-Hub-Signature-256", &signature), ("Host", "hooks.example.com")];
    daemon.request("POST", "/webhooks/github", &headers, body.as_bytes())
}

fn sign(body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any key");
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

fn push(before: &str, after: &str) -> Value {
    json!({
        "ref": "refs/heads/main", "before": before, "after": after,
        "repository": { "full_name": "acme/docs", "default_branch": "main" }
    })
}

#[test]
fn a_push_is_searchable_although_the_listing_does_not_show_it() {
    let mut hooked = start("");
    let before = hooked.repo.sha("HEAD").to_string();
    let after = hooked.repo.write("b.md", "The second page.\n").commit("second").to_string();
    // `pushed_at` is unchanged: a run that relied on the listing would find nothing.
    let answer = hooked.deliver("push", &push(&before, &after)).is(202).json();
    assert_eq!(answer, json!({ "result": "accepted", "projects": ["docs"] }));
    hooked.daemon.until("the push", |daemon| daemon.metric("reposync_files_processed_total") == 2);
    hooked.daemon.until_runs(2);
    assert_eq!(hooked.daemon.triggers(), ["start", "push"]);
    // A redelivery triggers a run as well.
    hooked.deliver("push", &push(&before, &after)).is(202);
    hooked.daemon.until_runs(3);
    hooked.github.assert_conforming();
}

#[test]
fn a_head_that_is_still_as_before_the_push_is_asked_again() {
    let mut hooked = start("");
    let before = hooked.repo.sha("HEAD").to_string();
    hooked.deliver("push", &push(&before, &"b".repeat(40))).is(202);
    hooked.daemon.until_runs(2);
    // GitHub shows the push only now, and there is no further delivery.
    hooked.repo.write("b.md", "The second page.\n").commit("second");
    hooked.daemon.until("the push", |daemon| daemon.metric("reposync_files_processed_total") == 2);
}

#[test]
fn unsigned_and_unwanted_deliveries_start_nothing() {
    let hooked = start("branch = \"main\"");
    let wanted = push(&"a".repeat(40), &"b".repeat(40)).to_string();
    let post = |headers: &[(&str, &str)], body: &str| {
        hooked.daemon.request("POST", "/webhooks/github", headers, body.as_bytes())
    };
    let event = ("X-GitHub-Event", "push");
    assert_eq!(post(&[event], &wanted).is(401).code(), "unauthorized");
    assert_eq!(
        post(&[event, ("X-Hub-Signature-256", &sign(b"other"))], &wanted).is(401).code(),
        "unauthorized"
    );
    assert_eq!(
        post(&[event, ("X-Hub-Signature-256", &sign(b"no json"))], "no json").is(400).code(),
        "bad_request"
    );
    assert_eq!(hooked.deliver("ping", &json!({ "zen": "Keep it simple." })).is(200).json()["result"], "pong");
    let mut other_branch = push(&"a".repeat(40), &"b".repeat(40));
    other_branch["ref"] = json!("refs/heads/other");
    let mut other_owner = push(&"a".repeat(40), &"b".repeat(40));
    other_owner["repository"]["full_name"] = json!("other/docs");
    for (event, payload) in
        [("push", other_branch), ("push", other_owner), ("star", json!({})), ("issues", json!([]))]
    {
        assert_eq!(hooked.deliver(event, &payload).is(200).json()["result"], "ignored", "{event}");
    }
    assert_eq!(hooked.daemon.runs().len(), 1);
    assert_eq!(hooked.daemon.metric("reposync_webhooks_total{outcome=\"unsigned\"}"), 2);
    // More commits than GitHub ever sends.
    let large = "x".repeat((25 << 20) + 1);
    let answer = post(&[event, ("X-Hub-Signature-256", &sign(b"other"))], &large);
    assert!(matches!(answer.status, 413 | 0), "{answer:?}");
}

/// The head of a delivery whose body is not sent.
fn head(event: &str, signature: &str, length: usize) -> String {
    format!(
        "POST /webhooks/github HTTP/1.1\r\nHost: hooks.example.com\r\nX-GitHub-Event: {event}\r\n\
         X-Hub-Signature-256: {signature}\r\nContent-Length: {length}\r\n\r\n"
    )
}

#[test]
fn deliveries_are_refused_by_their_head_without_reading_the_body() {
    let hooked = start("");
    let signature = sign(b"any");
    for (event, signature, length, status) in [
        ("push", "", 9, "401"),
        ("push", "sha256=00", 20 << 20, "401"),
        ("push", &signature.replace("sha256", "sha1"), 9, "401"),
        ("star", "", 9, "401"),
        ("star", &signature, 20 << 20, "200"),
        ("push", &signature, (25 << 20) + 1, "413"),
        ("ping", &signature, 1 << 40, "413"),
    ] {
        let mut stream = hooked.daemon.half(&head(event, signature, length));
        let line = status_line(&mut stream);
        assert!(line.starts_with(&format!("HTTP/1.1 {status} ")), "{event} {signature} {length}: {line}");
    }
    for (outcome, n) in [("unsigned", 4), ("ignored", 1), ("too_large", 2)] {
        let series = format!("reposync_webhooks_total{{outcome=\"{outcome}\"}}");
        assert_eq!(hooked.daemon.metric(&series), n, "{outcome}");
    }
    // Each kind of refusal is logged once a minute, not once per delivery.
    let log = hooked.daemon.program.stderr();
    for outcome in ["unsigned", "too_large"] {
        let lines = log.lines().filter(|line| line.contains("webhook delivery") && line.contains(outcome));
        assert_eq!(lines.count(), 1, "{outcome} in {log}");
    }
}

#[test]
fn an_accepted_delivery_leaves_an_audit_entry_and_others_leave_none() {
    let hooked = start("");
    hooked.deliver("ping", &json!({ "zen": "x" })).is(200);
    hooked.deliver("star", &json!({})).is(200);
    hooked.daemon.request("POST", "/webhooks/github", &[("X-GitHub-Event", "push")], b"{}").is(401);
    hooked.deliver("push", &push(&"a".repeat(40), &"b".repeat(40))).is(202);
    let log = hooked.daemon.stop().stderr;
    let entries: Vec<&str> = log.lines().filter(|line| line.contains(" audit ")).collect();
    assert_eq!(entries.len(), 1, "{log}");
    let entry = "audit who=\"webhook\" address=127.0.0.1 method=POST route=\"/webhooks/github\" project=\"docs\" status=202";
    assert!(entries[0].ends_with(entry), "{}", entries[0]);
}

#[test]
fn the_largest_body_is_configurable_without_a_restart() {
    let mut hooked = start("");
    let push = push(&"a".repeat(40), &"b".repeat(40));
    hooked.deliver("push", &push).is(202);
    let text = hooked.world.read("reposync.toml");
    hooked.world.config(&format!("{text}webhook_max_body = \"1 KiB\"\n"));
    hooked.daemon.until("the edit", |daemon| daemon.reloads("applied") == 1);
    let mut large = push.clone();
    large["padding"] = json!("x".repeat(1 << 10));
    hooked.deliver("push", &large).is(413);
    hooked.deliver("push", &push).is(202);
}

#[test]
fn a_form_is_taken_as_github_sends_it_by_default() {
    let hooked = start("");
    let deliver = |event: &str, payload: &Value, field: &str| {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        let body = form.append_pair(field, &payload.to_string()).finish();
        let signature = sign(body.as_bytes());
        let headers = [
            ("X-GitHub-Event", event),
            ("X-Hub-Signature-256", &signature),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ];
        hooked.daemon.request("POST", "/webhooks/github", &headers, body.as_bytes())
    };
    assert_eq!(deliver("ping", &json!({ "zen": "x" }), "payload").is(200).json()["result"], "pong");
    let push = push(&"a".repeat(40), &"b".repeat(40));
    assert_eq!(deliver("push", &push, "payload").is(202).json()["projects"], json!(["docs"]));
    let message = deliver("push", &push, "other").is(400).json()["error"]["message"].clone();
    assert!(message.as_str().is_some_and(|message| message.contains("`payload`")), "{message}");
}

#[test]
fn unfinished_bodies_share_a_bound_and_what_they_took_comes_back() {
    let mut hooked = start("");
    let before = resident(hooked.daemon.program.id());
    // Twelve times eight MiB arrive; each body is announced as larger and never ends.
    let (signature, part) = (sign(b"any"), vec![b'x'; 8 << 20]);
    let mut unfinished: Vec<TcpStream> = (0..12)
        .map(|_| {
            let mut stream = hooked.daemon.half(&head("push", &signature, 25 << 20));
            // The body of a refused delivery is not read to its end.
            drop(stream.write_all(&part));
            stream
        })
        .collect();
    hooked.daemon.until("a refusal", |daemon| {
        assert_eq!(daemon.get("/health").status, 200);
        daemon.metric("reposync_webhooks_total{outcome=\"busy\"}") > 0
    });
    let grown = resident(hooked.daemon.program.id()).saturating_sub(before);
    assert!(grown < 200 << 20, "grew by {} MiB", grown >> 20);
    let mut refused = None;
    hooked.daemon.until("its answer", |_| {
        refused = unfinished.iter().position(|stream| {
            stream.set_nonblocking(true).expect("a mode");
            matches!(stream.peek(&mut [0]), Ok(1..))
        });
        refused.is_some()
    });
    let mut refused = unfinished.swap_remove(refused.expect("just found"));
    refused.set_nonblocking(false).expect("a mode");
    // Fails if the daemon has closed it already.
    drop(refused.shutdown(Shutdown::Write));
    let answer = answer(&mut refused);
    assert_eq!((answer.status, answer.code().as_str()), (503, "busy"), "{answer:?}");
    assert!(answer.head.to_lowercase().contains("retry-after: 10"), "{}", answer.head);
    drop(unfinished);
    let mut large = push(&"a".repeat(40), &"b".repeat(40));
    large["padding"] = json!("x".repeat(20 << 20));
    hooked.daemon.until("room again", |daemon| deliver(daemon, "push", &large).status == 202);
}

/// Resident memory of a process in bytes; 0 where the system does not report it.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    line.map_or(0, |kib| kib.trim().parse::<u64>().expect("a number") << 10)
}

#[test]
fn a_repository_that_appears_is_indexed() {
    let mut hooked = start("");
    let other = GitRepo::init("other");
    other.write("o.md", "Another repository.\n").commit("first");
    hooked.github.repository("acme/other", Some(other.path()));
    let created =
        json!({ "action": "created", "repository": { "full_name": "acme/other", "default_branch": "main" } });
    assert_eq!(hooked.deliver("repository", &created).is(202).json()["projects"], json!(["docs"]));
    hooked.daemon.until("its file", |daemon| daemon.metric("reposync_files_processed_total") == 2);
}

#[test]
fn a_storm_is_answered_and_becomes_few_runs() {
    let mut hooked = start("");
    let before = hooked.repo.sha("HEAD").to_string();
    let after = hooked.repo.write("b.md", "The second page.\n").commit("second").to_string();
    let payload = push(&before, &after);
    for _ in 0..1000 {
        hooked.deliver("push", &payload).is(202);
    }
    hooked.daemon.until("the end of it", |daemon| {
        let projects = daemon.get("/projects").json();
        projects["projects"][0]["state"] == "current" && projects["projects"][0]["queued"].is_null()
    });
    assert_eq!(hooked.daemon.metric("reposync_files_processed_total"), 2);
    assert_eq!(hooked.daemon.metric("reposync_webhooks_total{outcome=\"accepted\"}"), 1000);
}

#[test]
fn a_storm_while_nothing_can_run_becomes_the_run_that_waits_and_one_after_it() {
    let mut hooked = start("");
    let lock = RunLock::take(&hooked.world.path(".reposync/state.db")).expect("free");
    let payload = push(&"a".repeat(40), &"b".repeat(40));
    hooked.deliver("push", &payload).is(202);
    hooked.daemon.until("the waiting", |daemon| daemon.get("/projects").json()["waiting_for"].is_object());
    for _ in 0..500 {
        hooked.deliver("push", &payload).is(202);
    }
    assert_eq!(hooked.daemon.metric("reposync_runs_queued"), 1);
    drop(lock);
    hooked.daemon.until_runs(3);
    assert_eq!(hooked.daemon.triggers(), ["start", "push", "push"]);
}
