//! Several daemons on one state: one starts runs, the others answer the API and take over.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::console::Session;
use crate::support::daemon::Daemon;
use crate::support::openai::Options;
use crate::support::pinecone::KEY;
use crate::support::shop::{SHORT, Shop};
use crate::support::world::Running;

const TOKEN: &str = "a-token-of-the-tests";

/// Daemons with a state in a database, and one repository.
struct Cluster {
    shop: Shop,
}

impl Cluster {
    /// `None`: no server can be started.
    fn open(options: Options) -> Option<Self> {
        let cluster = Self { shop: Shop::open("", options)? };
        cluster.shop.services.with_pages("guide", 3);
        cluster.write("reposync.toml", "");
        Some(cluster)
    }

    /// `more`: keys of `[workers]`.
    fn write(&self, path: &str, more: &str) {
        let api = format!("\n[api]\nlisten = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\"\n");
        let file = self.shop.file(&self.shop.url, &format!("{SHORT}{more}{api}"));
        self.shop.services.world.write(path, file);
    }

    fn daemon(&self) -> Daemon {
        self.daemon_of("reposync.toml")
    }

    fn daemon_of(&self, file: &str) -> Daemon {
        let mut daemon = Daemon::start_file(&self.shop.services.world, file, Vec::new());
        daemon.token = Some(TOKEN.to_owned());
        daemon
    }

    /// A daemon that starts runs, whose first run has ended.
    fn dispatcher(&self) -> Daemon {
        let mut daemon = self.daemon();
        until_role(&mut daemon, "dispatcher");
        daemon.until_runs(1);
        daemon
    }

    fn worker(&self, label: &str, without: Option<&str>) -> Running {
        let args = ["worker", "--state", &self.shop.url, "--label", label];
        let world = &self.shop.services.world;
        let mut command = world.command(&args);
        if let Some(name) = without {
            command.env_remove(name);
        }
        let mut worker = world.start(&mut command, &args);
        worker.until("that it waits", |worker| worker.stderr().contains("waits for units"));
        worker
    }

    /// An embedding service that takes its time.
    fn slow() -> Options {
        Options { latency: Duration::from_millis(1500), ..Options::default() }
    }
}

fn role(daemon: &Daemon) -> Value {
    daemon.get("/health").is(200).json()["role"].clone()
}

fn until_role(daemon: &mut Daemon, wanted: &str) {
    daemon.until(&format!("role {wanted}"), |daemon| role(daemon) == wanted);
}

fn sync(daemon: &Daemon, body: &Value) -> String {
    daemon.post("/sync", body).is(202).json()["run"].as_str().expect("an id").to_owned()
}

#[test]
fn any_daemon_answers_and_one_starts_runs() {
    let Some(cluster) = Cluster::open(Cluster::slow()) else { return };
    let first = cluster.dispatcher();
    let mut second = cluster.daemon();
    assert_eq!(role(&second), "standby");
    second.until("the project's state", |daemon| daemon.project("handbook")["state"] == "current");
    cluster.shop.services.with_pages("more", 5);
    let run = sync(&second, &json!({ "project": "handbook" }));
    second.until("the running run", |daemon| {
        daemon.get(&format!("/runs/{run}")).is(200).json()["status"] == "running"
    });
    let events = second.get(&format!("/runs/{run}/events")).is(200).body;
    assert!(events.contains("repository_planned") && events.contains("acme/more"), "{events}");
    let ended = second.until_ended(&run);
    assert_eq!(
        (ended["outcome"].as_str(), ended["trigger"].as_str()),
        (Some("done"), Some("api")),
        "{ended}"
    );
    // Two runs each would be four.
    assert_eq!(first.triggers(), ["start", "api"]);
    assert_eq!(second.get("/queue").is(200).json()["daemons"].as_array().map(Vec::len), Some(2));
    let plan = second.post("/plans", &json!({ "project": "handbook" })).is(201).json();
    let approve = format!("/plans/{}/approve", plan["id"].as_str().expect("an id"));
    let run = second.post(&approve, &json!({})).is(202).json()["run"].as_str().expect("an id").to_owned();
    assert_eq!(second.until_ended(&run)["trigger"], "plan");
    second.stop().exits(0);
    assert_eq!(role(&first), "dispatcher");
}

#[test]
fn a_session_of_the_console_is_one_at_all_daemons() {
    let Some(cluster) = Cluster::open(Options::default()) else { return };
    let (first, second) = (cluster.dispatcher(), cluster.daemon());
    let session = Session::of(&first, TOKEN);
    assert!(session.get(&second, "/console").is(200).body.contains("handbook"));
    session.post(&second, "/console/projects/handbook", "/console/projects/handbook/sync", "").is(303);
    let link = first.post("/console/links", &json!({})).is(200).json();
    let code = link["path"].as_str().and_then(|path| path.split("code=").nth(1)).expect("a code").to_owned();
    let redeem = |daemon: &Daemon| {
        let origin = format!("http://{}", daemon.address());
        let headers = [("Authorization", "none"), ("Origin", origin.as_str())];
        daemon.request("POST", "/console/sign-in", &headers, format!("code={code}").as_bytes())
    };
    redeem(&second).is(303);
    redeem(&first).is(401);
    session.post(&second, "/console", "/console/sign-out", "").is(303);
    session.get(&first, "/console").is(303);
}

#[test]
fn a_daemon_that_ends_hands_over_at_once_with_what_was_asked_for() {
    let Some(cluster) = Cluster::open(Cluster::slow()) else { return };
    let first = cluster.dispatcher();
    let mut second = cluster.daemon();
    cluster.shop.services.with_pages("more", 5);
    let running = sync(&first, &json!({ "project": "handbook", "full": true }));
    let queued = sync(&second, &json!({ "project": "handbook", "full": true }));
    first.stop().exits(0);
    until_role(&mut second, "dispatcher");
    let ended = second.until_ended(&queued);
    assert_eq!(
        (ended["outcome"].as_str(), ended["trigger"].as_str()),
        (Some("done"), Some("api")),
        "{ended}"
    );
    assert_eq!(second.until_ended(&running)["status"], "finished");
    assert_eq!(cluster.shop.services.ada.embedded().values().filter(|times| **times > 2).count(), 0);
    cluster.shop.services.world.ok(&["verify"]);
}

#[test]
fn a_daemon_that_is_killed_is_replaced_when_its_lease_ends() {
    let Some(cluster) = Cluster::open(Cluster::slow()) else { return };
    let mut first = cluster.dispatcher();
    let mut second = cluster.daemon();
    cluster.shop.services.with_pages("more", 5);
    let running = sync(&second, &json!({ "project": "handbook" }));
    let calls = cluster.shop.services.ada.calls().len();
    first.until("a call", |_| cluster.shop.services.ada.calls().len() > calls);
    let queued = sync(&second, &json!({ "project": "handbook", "full": true }));
    first.kill();
    until_role(&mut second, "dispatcher");
    for run in [running, queued] {
        let ended = second.until_ended(&run);
        assert_eq!(ended["outcome"], "done", "{ended}");
    }
    cluster.shop.services.world.ok(&["verify"]);
}

#[test]
fn a_stopped_dispatcher_that_wakes_up_changes_nothing() {
    let Some(cluster) = Cluster::open(Options::default()) else { return };
    let mut first = cluster.dispatcher();
    let mut second = cluster.daemon();
    first.program.signal("STOP");
    until_role(&mut second, "dispatcher");
    second.until_runs(2);
    first.program.signal("CONT");
    until_role(&mut first, "standby");
    let run = sync(&first, &json!({ "project": "handbook" }));
    assert_eq!(second.until_ended(&run)["outcome"], "done");
    cluster.shop.services.world.ok(&["verify"]);
}

#[test]
fn a_daemon_with_an_older_file_does_not_take_over_until_it_is_asked_to() {
    let Some(cluster) = Cluster::open(Options::default()) else { return };
    let mut first = cluster.dispatcher();
    cluster.write("other/reposync.toml", "");
    cluster.write("reposync.toml", "units = 2\n");
    first.until("the reload", |daemon| daemon.reloads("applied") == 1);
    let mut second = cluster.daemon_of("other/reposync.toml");
    first.stop().exits(0);
    second.until("that its file is refused", |daemon| {
        daemon.get("/health").is(200).json()["config_refused"] == true
    });
    let health = second.get("/health").json();
    let problem = health["problem"].as_str().unwrap_or_default();
    assert!(problem.contains("the file differs from generation 2"), "{health}");
    assert_eq!(health["role"], "standby");
    second.post("/reload", &json!({})).is(200);
    until_role(&mut second, "dispatcher");
    assert_eq!(second.get("/health").json()["config_refused"], false);
}

#[test]
fn daemons_of_an_older_program_end_after_a_migration() {
    let Some(cluster) = Cluster::open(Options::default()) else { return };
    let daemons = [cluster.dispatcher(), cluster.daemon()];
    cluster.shop.sql("BEGIN; UPDATE reposync_schema SET version = 999; DELETE FROM leases; COMMIT");
    for daemon in daemons {
        let ended = daemon.program.wait().exits(1);
        assert!(ended.stderr.contains("newer RepoSync (version 999"), "{}", ended.stderr);
    }
    let _restarted = cluster.shop.services.world.run(&["daemon"]).exits(1);
}

#[test]
fn a_reload_names_workers_that_cannot_use_the_file() {
    let Some(cluster) = Cluster::open(Options::default()) else { return };
    let daemon = cluster.dispatcher();
    let able = cluster.worker("able", None);
    let _unable = cluster.worker("unable", Some("PINECONE_API_KEY"));
    cluster.write("reposync.toml", "units = 2\n");
    let answer = daemon.post("/reload", &json!({})).is(200).json();
    let message = answer["message"].as_str().expect("a message");
    assert!(message.contains("1 of 2 workers; unable refused:"), "{message}");
    assert!(message.contains("PINECONE_API_KEY"), "{message}");
    able.signal("TERM");
    able.wait().exits(0);
    // From a folder without a daemon, as on another machine, the command asks through the database.
    cluster.write("other/reposync.toml", "");
    let asked = cluster.shop.services.world.ok(&["reload", "--config", "other/reposync.toml"]);
    assert!(asked.stdout.contains("the dispatcher: nothing changed"), "{}", asked.stdout);
}

#[test]
fn a_variable_of_another_name_reaches_the_workers_though_its_value_is_the_same() {
    let Some(mut cluster) = Cluster::open(Options::default()) else { return };
    cluster.shop.services.world = cluster.shop.services.world.env("NEW_KEY", KEY);
    let daemon = cluster.dispatcher();
    let _poor = cluster.worker("poor", Some("NEW_KEY"));
    let text = cluster.shop.services.world.read("reposync.toml");
    cluster.shop.services.world.config(&text.replace("${PINECONE_API_KEY}", "${NEW_KEY}"));
    let message = daemon.post("/reload", &json!({})).is(200).json()["message"].to_string();
    assert!(message.contains("nothing changed; 0 of 1 worker; poor refused:"), "{message}");
    assert!(message.contains("NEW_KEY"), "{message}");
}

/// One of two workers lacks a variable that an edit refers to, while they work on a hundred units.
#[test]
fn a_reload_during_a_run_goes_on_with_the_workers_that_can_use_the_file() {
    let quick = Options { latency: Duration::from_millis(200), ..Options::default() };
    let Some(mut cluster) = Cluster::open(quick) else { return };
    cluster.shop.services.world = cluster.shop.services.world.env("NEW_KEY", KEY);
    cluster.write("reposync.toml", "local = false\nunits = 2\n");
    let mut daemon = cluster.daemon();
    let _able = cluster.worker("able", None);
    let mut broken = cluster.worker("broken", Some("NEW_KEY"));
    daemon.until_runs(1);
    cluster.shop.pages(100, 1);
    let calls = cluster.shop.services.ada.calls().len();
    sync(&daemon, &json!({ "project": "handbook" }));
    daemon.until("calls", |_| cluster.shop.services.ada.calls().len() > calls + 3);
    let text = cluster.shop.services.world.read("reposync.toml");
    let text = text.replace("${PINECONE_API_KEY}", "${NEW_KEY}");
    cluster.shop.services.world.config(&text.replace("**/node_modules/**", "**/nothing/**"));
    let message = daemon.post("/reload", &json!({})).is(200).json()["message"].to_string();
    assert!(message.contains("1 of 2 workers; broken refused:"), "{message}");
    assert!(message.contains("NEW_KEY"), "{message}");
    daemon.until("all files", |daemon| {
        let project = daemon.project("handbook");
        project["state"] == "current" && project["files"] == 103
    });
    assert!(!broken.has_ended());
    let units = cluster.shop.queue()["workers"].to_string();
    assert!(units.contains("\"running\":0"), "{units}");
    drop(daemon);
    cluster.shop.assert_right();
}
