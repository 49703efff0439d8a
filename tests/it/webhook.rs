//! GitHub's webhooks: signed or not listened to, answered at once, no push lost.

use hmac::{Hmac, KeyInit, Mac};
use reposync::ledger::RunLock;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::daemon::{API, Answer, Daemon};
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
        let body = payload.to_string();
        let signature = sign(body.as_bytes());
        let headers =
            [("X-GitHub-Event", event), ("X-Hub-Signature-256", &signature), ("Host", "hooks.example.com")];
        self.daemon.request("POST", "/webhooks/github", &headers, body.as_bytes())
    }
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
    // `pushed_at` stays as it was: a run that believed the listing would find nothing.
    let answer = hooked.deliver("push", &push(&before, &after)).is(202).json();
    assert_eq!(answer, json!({ "result": "accepted", "projects": ["docs"] }));
    hooked.daemon.until("the push", |daemon| daemon.metric("reposync_files_processed_total") == 2);
    hooked.daemon.until_runs(2);
    assert_eq!(hooked.daemon.triggers(), ["start", "push"]);
    // A redelivery is a trigger like any other.
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
    // GitHub shows the push only now; nobody tells of it again.
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
    // More than GitHub ever sends.
    let large = "x".repeat((25 << 20) + 1);
    let answer = post(&[event, ("X-Hub-Signature-256", "sha256=00")], &large);
    assert!(matches!(answer.status, 413 | 0), "{answer:?}");
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
