//! No secret is printed, logged, stored, reported, or sent to another host, whatever goes wrong and
//! whatever a service echoes.

use std::path::Path;

use serde_json::json;

use crate::support::console::Session;
use crate::support::daemon::Daemon;
use crate::support::github::{APP_ID, APP_KEY, ARCHIVE_TOKEN, INSTALLATION_ID, TOKEN};
use crate::support::http::{Exchange, Fault, Response, Server};
use crate::support::pinecone::KEY as PINECONE_KEY;
use crate::support::services::{AZURE_KEY, Services};
use crate::support::slack::PATH as SLACK_PATH;

const API_TOKEN: &str = "api-token-0123456789-of-the-tests";
const WEBHOOK_SECRET: &str = "webhook-secret-0123456789-of-the-tests";
const HOOK_KEY: &str = "hook-key-0123456789-of-the-tests";

const HOOK_SECRET: &str = "hook-secret-0123456789-of-the-tests";

/// The secrets, each with the service that may see it.
fn secrets() -> Vec<(&'static str, &'static str)> {
    let key_line = APP_KEY.lines().nth(3).expect("a key of several lines");
    vec![
        ("github", TOKEN),
        ("github", key_line),
        // The App's tokens: the ones it signs and the ones it receives.
        ("github", "eyJ0eXAi"),
        ("github", "eyJhbGci"),
        ("github", "ghs_4711"),
        ("archive", ARCHIVE_TOKEN),
        ("ada", AZURE_KEY),
        ("pinecone", PINECONE_KEY),
        ("slack", SLACK_PATH),
        ("hook", HOOK_KEY),
        ("nobody", API_TOKEN),
        ("nobody", WEBHOOK_SECRET),
        ("nobody", HOOK_SECRET),
    ]
}

/// The services, Slack and a webhook, a span collector, and a host that must never receive a secret.
struct Watched {
    services: Services,
    hook: Server,
    collector: Server,
    elsewhere: Server,
    said: String,
}

impl Watched {
    /// With these `credentials` for the stage `github`.
    fn new(credentials: &str) -> Self {
        let services = Services::start();
        let hook = Server::start(|_| Response::text(200, "ok"));
        let collector = Server::start(|_| Response::status(200));
        let elsewhere = Server::start(|_| Response::json(200, &json!([])));
        let services = Services {
            world: services
                .world
                .env("API_TOKEN", API_TOKEN)
                .env("WEBHOOK_SECRET", WEBHOOK_SECRET)
                .env("HOOK_SECRET", HOOK_SECRET)
                .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())
                .env("HOOK_URL", &format!("{}/in?key={HOOK_KEY}", hook.url())),
            ..services
        };
        services.world.write("app.pem", APP_KEY);
        let file = services.file().replace("token = \"${GITHUB_TOKEN}\"", credentials);
        let file = file.replace("\"team\"]", "\"team\", \"hook\"]");
        let file = file.replace("[engine]\n", "[engine]\nretries = 0\n");
        services.world.config(&format!(
            "{file}\n[stages.hook]\nkind = \"webhook\"\nurl = \"${{HOOK_URL}}\"\nsecret = \"${{HOOK_SECRET}}\"\non = [\"always\"]\n\
             [api]\nlisten = \"127.0.0.1:0\"\ntoken = \"${{API_TOKEN}}\"\nwebhook_secret = \"${{WEBHOOK_SECRET}}\"\n"
        ));
        services.with_pages("api", 30);
        Self { services, hook, collector, elsewhere, said: String::new() }
    }

    fn run(&mut self, args: &[&str]) -> Option<i32> {
        let ran = self.services.world.run(args);
        self.said.extend([ran.stdout.as_str(), ran.stderr.as_str()]);
        ran.code
    }

    /// Each service by name, with the call that is observed and the secret that it receives.
    fn asked(&self) -> [(&'static str, &Server, &'static str, &'static str); 6] {
        let services = &self.services;
        [
            ("github", services.github.api(), "/orgs/acme", TOKEN),
            ("github", services.github.api(), "/git/trees/", TOKEN),
            ("ada", &services.ada.server, "/embeddings", AZURE_KEY),
            ("pinecone", &services.pinecone.server, "/indexes/", PINECONE_KEY),
            ("pinecone", &services.pinecone.server, "/vectors/upsert", PINECONE_KEY),
            ("slack", &services.slack.server, "/services/", SLACK_PATH),
        ]
    }

    fn heal(&self) {
        self.asked().iter().for_each(|(_, server, ..)| server.heal());
    }

    /// Panics if a secret was printed or stored, or reached a host that it is not meant for.
    fn assert_kept(&self) {
        for (_, secret) in secrets() {
            let at = self.said.find(secret).map(|at| &self.said[at.saturating_sub(200)..at]);
            assert_eq!(at, None, "`{secret}` was printed, after this");
            let kept = files_with(&self.services.world.path("."), secret);
            let kept: Vec<_> = kept.iter().filter(|path| !path.ends_with("app.pem")).collect();
            assert!(kept.is_empty(), "`{secret}` was stored in {kept:?}");
        }
        let services = &self.services;
        for (host, requests) in [
            ("github", services.github.api().requests()),
            ("archive", services.github.archives().requests()),
            ("ada", services.ada.server.requests()),
            ("pinecone", services.pinecone.server.requests()),
            ("slack", services.slack.server.requests()),
            ("hook", self.hook.requests()),
            ("collector", self.collector.requests()),
            ("elsewhere", self.elsewhere.requests()),
        ] {
            assert_ne!(requests.is_empty(), host != "elsewhere", "{host} was asked");
            let seen: String = requests.iter().map(|exchange: &Exchange| exchange.everything()).collect();
            for (owner, secret) in secrets().into_iter().filter(|(owner, _)| *owner != host) {
                assert!(!seen.contains(secret), "`{secret}` of {owner} reached {host}");
            }
        }
    }
}

/// Answers that echo the secret, in each form of error body.
fn echoes(status: u16, secret: &str) -> [Fault; 3] {
    let message = format!("Who are you, {secret}?");
    let nested = json!({ "error": { "code": secret, "message": message }, "status": status });
    let flat = json!({ "message": message, "code": 3, "details": [] });
    [
        Fault::Answer(Response::text(status, &message)),
        Fault::Answer(Response::json(status, &nested)),
        Fault::Answer(Response::json(status, &flat)),
    ]
}

#[test]
fn secrets_stay_where_they_belong() {
    let mut watched = Watched::new("token = \"${GITHUB_TOKEN}\"");
    for args in [
        &["validate", "--show"][..],
        &["schema"],
        &["plan", "-vv"],
        &["plan", "--json"],
        &["plan", "--exact", "--out", "plan.json"],
        &["apply", "-vv", "plan.json"],
        &["apply", "--json", "--full", "-vv"],
        &["status"],
        &["status", "--json", "-vv"],
        &["history", "--json"],
        &["query", "what page 3 says", "--json"],
        &["verify", "-vv"],
    ] {
        assert_eq!(watched.run(args), Some(0), "{args:?}: {}", watched.said);
    }
    // Every service echoes the secret it received.
    for at in 0..watched.asked().len() {
        for status in [400, 401, 429, 500] {
            let (_, server, on, secret) = watched.asked()[at];
            let wait = |fault: Fault| fault.with("retry-after", "0");
            let echoes = echoes(status, secret);
            // One form per status is enough: all forms are parsed in one place.
            server.fail_times(on, usize::MAX, wait(echoes[usize::from(status) % 3].clone()));
            let path = format!("docs/page-{at}.md");
            watched.services.world.write(&format!("repos/api/{path}"), format!("Round {at} {status}.\n"));
            crate::support::git_repo::git(
                &watched.services.world.path("repos/api"),
                &["commit", "-q", "-a", "-m", "round"],
            );
            watched.services.pushed("api");
            watched.run(&["apply", "-vv", "--json"]);
            watched.heal();
        }
    }
    // Every service redirects to another host.
    for at in 0..watched.asked().len() {
        for status in [302, 308] {
            let (_, server, on, _) = watched.asked()[at];
            let location = format!("{}/stolen", watched.elsewhere.url());
            server.fail_times(on, usize::MAX, Fault::status(status).with("location", location));
            watched.run(&["apply", "-vv", "--full"]);
            watched.heal();
        }
    }
    assert_eq!(watched.run(&["apply"]), Some(0), "{}", watched.said);
    watched.assert_kept();
}

/// The daemon's answers, its record file and its logs, with an App instead of a token.
#[test]
fn the_daemon_reveals_no_secret() {
    let mut watched = Watched::new(&format!(
        "app_id = {APP_ID}\ninstallation_id = {INSTALLATION_ID}\nprivate_key = \"${{file:app.pem}}\""
    ));
    let mut daemon = Daemon::start(&watched.services.world);
    daemon.token = Some(API_TOKEN.to_owned());
    daemon.until_runs(1);
    let mut said = String::new();
    let mut ask = |daemon: &Daemon| {
        let session = Session::of(daemon, API_TOKEN);
        for page in
            ["/console", "/console/config", "/console/projects/handbook", "/console/runs", "/console/audit"]
        {
            said.push_str(&session.get(daemon, page).is(200).body);
        }
        for path in [
            "/health",
            "/metrics",
            "/openapi.json",
            "/projects",
            "/runs",
            "/plan",
            "/describe",
            "/repositories?org=acme",
            "/content?repo=acme/api&path=docs/page-1.md",
            "/changes?repo=acme/api&last_commit=0123456789012345678901234567890123456789",
        ] {
            let answer = daemon.get(path);
            said.extend([answer.head.as_str(), answer.body.as_str()]);
        }
        let run = daemon.runs()[0]["run"].as_str().expect("an id").to_owned();
        for path in [format!("/runs/{run}"), format!("/runs/{run}/events")] {
            said.push_str(&daemon.get(&path).body);
        }
        for (path, body) in [
            ("/embeddings", json!({ "texts": ["one"] })),
            ("/query", json!({ "project": "handbook", "query": "what page 3 says" })),
            ("/process", json!({ "path": "a.md", "text": "one" })),
            ("/sync", json!({ "full": true })),
        ] {
            said.push_str(&daemon.post(path, &body).body);
        }
    };
    ask(&daemon);
    daemon.until_runs(2);
    for at in 0..watched.asked().len() {
        let (_, server, on, secret) = watched.asked()[at];
        server.fail_times(on, usize::MAX, echoes(401, secret)[at % 3].clone());
    }
    ask(&daemon);
    daemon.until_runs(3);
    ask(&daemon);
    daemon.until_runs(4);
    watched.heal();
    watched.services.world.ok(&["reload"]);
    let ran = daemon.stop();
    watched.said.extend([said.as_str(), ran.stdout.as_str(), ran.stderr.as_str()]);
    assert!(said.contains("What page 1 says") && said.contains("401"), "{said}");
    // The redirect leaves no trace here.
    watched.assert_kept();
}

/// A value that cannot be a secret is refused, naming its key.
#[test]
fn invalid_secrets_are_not_shown() {
    for (name, value) in [
        ("GITHUB_TOKEN", "s3cr3t-value with\nlines"),
        ("AZURE_OPENAI_API_KEY", "s3cr3t-value\u{7f}"),
        ("PINECONE_API_KEY", "s3cr3t-value\nline"),
        ("SLACK_WEBHOOK_URL", "http://hooks.example/s3cr3t-value"),
        ("SLACK_WEBHOOK_URL", "s3cr3t-value in words"),
    ] {
        let services = Services::start();
        let services = Services { world: services.world.env(name, value), ..services };
        services.repository("api", &[("a.md", "Words.\n".into())]);
        for args in [&["validate"][..], &["plan", "-vv"], &["apply", "-vv", "--json"]] {
            let ran = services.world.run(args);
            let said = [ran.stdout.as_str(), ran.stderr.as_str()].concat();
            assert!(!said.contains("s3cr3t-value"), "{name} at {args:?}: {said}");
            assert!(args[0] == "validate" || ran.code != Some(0), "{name} at {args:?}: {said}");
        }
        assert_eq!(files_with(&services.world.path("."), "s3cr3t-value"), [""; 0], "{name}");
    }
}

/// Files below a folder that contain a text.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if std::fs::read(&path)
            .is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
        {
            found.push(path.display().to_string());
        }
    }
    found
}
