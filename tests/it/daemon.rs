//! The daemon keeps indexes up to date: which triggers start runs, and that no request is lost.

use chrono::{DateTime, Utc};
use reposync::state::sqlite::RunLock;
use serde_json::{Value, json};

use crate::support::console::Session;
use crate::support::daemon::{API, Daemon};
use crate::support::http::{Fault, Server};
use crate::support::local::{Local, STAGES, project};
use crate::support::services::Services;

fn local() -> Local {
    let local = Local::new();
    local.config(&project(API));
    local
}

/// A second project with its own repository.
fn two_projects(more: &str) -> Local {
    let local = Local::new();
    local.world.repo("api").write("a.md", "The second repository.\n").commit("first");
    let second =
        "[projects.api]\npipeline = [\"local\", \"prose\", \"model\", \"index\"]\nrepositories = [\"api\"]\n";
    local.config(&project(&format!("{second}{more}\n{API}")));
    local
}

#[test]
fn it_indexes_everything_at_the_start_and_tells_how_current_it_is() {
    let local = local();
    let mut daemon = Daemon::start(&local.world);
    daemon.until_runs(1);
    assert_eq!(daemon.triggers(), ["start"]);
    local.assert_as_fresh();
    let health = daemon.get("/health").is(200).json();
    assert_eq!((&health["status"], &health["service"]), (&json!("healthy"), &json!("reposync")));
    let docs = daemon.project("docs");
    assert_eq!(docs["state"], "current");
    assert_eq!(docs["indexed_commit"], local.repo.sha("HEAD").to_string());
    assert_eq!((&docs["indexed_commit"], &docs["seconds_behind"]), (&docs["head"], &json!(0)));
    assert_eq!(daemon.metric("reposync_files_processed_total"), 3);
    assert_eq!(daemon.metric("reposync_embeddings_generated_total"), 3);
    assert_eq!(daemon.metric("reposync_sync_duration_seconds_count"), 1);
    assert_eq!(daemon.metric("reposync_errors_total{service=\"embedding\",type=\"rate_limit\"}"), 0);
    assert_eq!(daemon.metric("reposync_project_seconds_behind{project=\"docs\"}"), 0);
    daemon.stop().exits(0);
}

#[test]
fn a_request_runs_a_project_and_its_run_can_be_followed() {
    let local = local();
    let mut daemon = Daemon::start(&local.world);
    daemon.until_runs(1);
    local.repo.write("new.md", "A new page.\n").commit("second");
    let accepted = daemon.post("/sync", &json!({ "project": "docs" })).is(202).json();
    let run = daemon.until_ended(accepted["run"].as_str().expect("an id"));
    assert_eq!((&run["trigger"], &run["outcome"]), (&json!("api"), &json!("done")));
    assert_eq!(run["report"]["projects"][0]["counts"]["files_added"], 1);
    local.assert_as_fresh();

    let events = daemon.get(&format!("/runs/{}/events", accepted["run"].as_str().expect("an id"))).is(200);
    assert!(events.head.to_lowercase().contains("content-type: text/event-stream"), "{}", events.head);
    for event in ["event: project_started", "event: file_indexed", "event: end"] {
        assert!(events.body.contains(event), "no {event} in {}", events.body);
    }
    assert_eq!(daemon.post("/sync", &json!({ "project": "dosc" })).is(404).code(), "not_found");
    assert_eq!(daemon.get("/runs/none").is(404).code(), "not_found");
    assert_eq!(daemon.get("/runs/none/events").is(404).code(), "not_found");
}

#[test]
fn one_request_over_all_projects_has_one_id() {
    let local = two_projects("");
    let mut daemon = Daemon::start(&local.world);
    daemon.until_runs(2);
    let accepted = daemon.request("POST", "/sync", &[], b"").is(202).json();
    assert_eq!(accepted["runs"].as_object().expect("runs").len(), 2);
    let run = daemon.until_ended(accepted["run"].as_str().expect("an id"));
    let projects: Vec<&Value> =
        run["report"]["projects"].as_array().expect("projects").iter().map(|part| &part["project"]).collect();
    assert_eq!(projects, ["api", "docs"]);
    assert_eq!(run["outcome"], "done");
}

#[test]
fn a_pause_that_a_service_asks_for_is_shown() {
    let services = Services::start();
    let _repo = services.with_pages("api", 2);
    services.world.config(&format!("{}{API}", services.file()));
    services.ada.fail([Fault::status(429).with("retry-after", "250")]);
    let mut daemon = Daemon::start(&services.world);
    let waits = |daemon: &Daemon| daemon.project("handbook")["waits"].clone();
    daemon.until("the pause", |daemon| waits(daemon) != json!([]));
    let [wait] = waits(&daemon).as_array().expect("waits").clone().try_into().expect("one");
    assert_eq!(wait["stage"], "ada");
    let until = wait["until"].as_str().expect("a time").parse::<DateTime<Utc>>().expect("RFC 3339");
    assert!((until - Utc::now()).num_seconds() <= 250, "{until}");
    let reason = wait["reason"].as_str().expect("a reason");
    let status = services.world.ok(&["status"]).stdout;
    let line = format!("  waits         until {} UTC, stage `ada`: {reason}\n", until.format("%F %T"));
    assert!(status.contains(&line), "{line} in {status}");
    daemon.stop().exits(0);
    assert!(!services.world.ok(&["status"]).stdout.contains("waits"), "nothing runs");
}

#[test]
fn requests_during_a_run_are_coalesced_and_another_process_is_waited_for() {
    let local = local();
    // Another process is in the middle of a run.
    let lock = RunLock::take(&local.world.path(".reposync/state.db")).expect("free");
    let mut daemon = Daemon::start(&local.world);
    daemon.until("the waiting to be seen", |daemon| {
        daemon.get("/projects").is(200).json()["waiting_for"]["process"] == std::process::id()
    });
    let waits = json!([{
        "stage": null,
        "reason": format!("process {} holds the ledger", std::process::id()),
        "until": null,
    }]);
    assert_eq!(daemon.project("docs")["waits"], waits);
    let ids: Vec<Value> = (0..20)
        .map(|n| daemon.post("/sync", &json!({ "full": n == 7 })).is(202).json()["run"].clone())
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(daemon.triggers(), Vec::<String>::new());
    drop(lock);
    let run = daemon.until_ended(ids[0].as_str().expect("an id"));
    // The request for a full run is not lost when requests are coalesced.
    assert_eq!(run["report"]["projects"][0]["counts"]["files_changed"], 3);
    assert_eq!(daemon.triggers(), ["start", "api"]);
    // The lock is held only during runs; it is released right after the end of the run is recorded.
    let state = local.world.path(".reposync/state.db");
    daemon.until("the lock to be free", |_| RunLock::try_take(&state).expect("io").is_ok());
}

#[test]
fn a_project_whose_service_is_dead_delays_nobody() {
    let silent = Server::silent();
    let local = Local::new();
    local.config(&format!(
        "{STAGES}
[stages.dead]
kind = \"openai\"
base_url = \"{}\"
model = \"m\"
dimensions = 8
api_key = \"k\"
[projects.stuck]
pipeline = [\"local\", \"prose\", \"dead\", \"index\"]
repositories = [\"docs\"]
namespace = \"stuck\"
[projects.docs]
pipeline = [\"local\", \"prose\", \"model\", \"index\"]
repositories = [\"docs\"]
{API}",
        silent.url()
    ));
    let mut daemon = Daemon::start(&local.world);
    daemon.until_state("docs", "current");
    assert_eq!(daemon.project("stuck")["state"], "running");
    local.repo.write("new.md", "Another page.\n").commit("second");
    let accepted = daemon.post("/sync", &json!({ "project": "docs" })).is(202).json();
    daemon.until_ended(accepted["run"].as_str().expect("an id"));
    assert_eq!(daemon.project("stuck")["state"], "running");
    // It does not delay shutdown either.
    daemon.stop().exits(0);
}

#[test]
fn a_run_that_ends_early_degrades_and_is_tried_again() {
    let local = Local::new();
    local.config(
        &project(API).replace("repositories = [\"docs\"]", "repositories = [\"docs\"]\nbranch = \"main\""),
    );
    // The store's path is a folder, so nothing can be written.
    local.world.write(".reposync/index.db/x", "");
    let mut daemon = Daemon::start(&local.world);
    daemon.until_runs(1);
    let health = daemon.get("/health").is(200).json();
    assert_eq!((&health["status"], &health["projects_failed"]), (&json!("degraded"), &json!(1)));
    let docs = daemon.project("docs");
    assert_eq!(docs["state"], "failed");
    assert!(docs["last_error"].as_str().is_some() && docs["retry_at"].as_str().is_some(), "{docs}");
    std::fs::remove_dir_all(local.world.path(".reposync/index.db")).expect("removed");
    let accepted = daemon.post("/sync", &json!({})).is(202).json();
    daemon.until_ended(accepted["run"].as_str().expect("an id"));
    assert_eq!(daemon.get("/health").is(200).json()["status"], "healthy");
    local.assert_as_fresh();
}

#[test]
fn a_kill_at_any_time_converges_at_the_next_start() {
    let local = local();
    for n in 0..40 {
        local.repo.write(&format!("pages/{n}.md"), format!("Page {n} has words of its own.\n"));
    }
    local.repo.commit("pages");
    for started in [false, true] {
        let mut daemon = Daemon::start(&local.world);
        if started {
            daemon.until("a first file", |daemon| daemon.metric("reposync_files_processed_total") > 0);
        }
        daemon.kill();
    }
    let mut daemon = Daemon::start(&local.world);
    daemon.until_state("docs", "current");
    daemon.stop().exits(0);
    local.assert_as_fresh();
    local.world.ok(&["verify"]);
}

#[test]
fn status_and_history_of_the_command_line_see_the_daemon() {
    let local = Local::new();
    local.config(&project(&format!("schedule = \"0 8 * * *\"\n{API}")));
    let mut daemon = Daemon::start(&local.world);
    daemon.until_runs(1);
    let status = local.world.ok(&["status", "--json"]).json();
    assert_eq!(status["projects"][0]["next_run"], daemon.project("docs")["next_run"]);
    assert!(
        status["projects"][0]["next_run"].as_str().is_some_and(|next| next.ends_with("T08:00:00Z")),
        "{status}"
    );
    let plan = daemon.get("/plan").is(200).json();
    assert_eq!(plan["projects"][0]["repositories_unchanged"], 1);
    daemon.kill();
    // A record left by a killed daemon does not count as a running daemon.
    assert_eq!(local.world.ok(&["status", "--json"]).json()["projects"][0]["next_run"], Value::Null);
}

#[test]
fn how_far_behind_is_counted_while_a_run_is_under_way() {
    let silent = Server::silent();
    let local = local();
    let mut daemon = Daemon::start(&local.world);
    daemon.until_runs(1);
    let indexed = local.repo.sha("HEAD").to_string();
    for n in 0..3 {
        local.repo.write("new.md", format!("Page {n} is new.\n")).commit("another");
    }
    // Its embedder does not answer, so the project stays behind.
    let dead = format!(
        "{STAGES}
[stages.dead]
kind = \"openai\"
base_url = \"{}\"
model = \"m\"
dimensions = 256
api_key = \"k\"
",
        silent.url()
    );
    let text = project(&format!("namespace = \"elsewhere\"\n{API}")).replace(STAGES, &dead);
    local.config(&text.replace("\"prose\", \"model\"", "\"prose\", \"dead\""));
    daemon.until("the count", |daemon| daemon.project("docs")["commits_behind"] == 3);
    let docs = daemon.project("docs");
    assert_eq!(docs["indexed_commit"], indexed.as_str());
    assert_eq!(docs["head"], local.repo.sha("HEAD").to_string());
    assert!(docs["seconds_behind"].is_u64(), "{docs}");
    assert_eq!(daemon.metric("reposync_project_commits_behind{project=\"docs\"}"), 3);
    let session = Session::of(&daemon, daemon.token.as_deref().expect("a token"));
    assert!(session.get(&daemon, "/console").is(200).body.contains("3 commits"));
    let status = local.world.ok(&["status"]).stdout;
    assert!(status.contains("behind        3 commits"), "{status}");
    daemon.stop().exits(0);
}

#[test]
fn a_health_check_needs_no_token_and_no_secret() {
    let local = Local::new();
    local.config(&format!("{}{API}", project("")));
    let none = local.world.run(&["health"]).exits(1);
    assert!(none.stderr.contains("no daemon serves the ledger"), "{}", none.stderr);
    let mut daemon = Daemon::start(&local.world);
    daemon.until_runs(1);
    assert_eq!(local.world.ok(&["health"]).stdout, "healthy\n");
}

#[test]
fn a_status_that_is_watched_is_printed_again_when_it_changes() {
    let local = Local::new();
    let mut watching = local.world.spawn(&["status", "--watch"]);
    watching.until("the status", |program| program.stdout().contains("docs"));
    let before = watching.stdout().matches("docs").count();
    local.apply(&[]).exits(0);
    watching.until("the new status", |program| program.stdout().matches("docs").count() > before);
    watching.signal("INT");
    assert_eq!(watching.wait().code, None, "Ctrl-C ends it");
    local.world.run(&["status", "--watch", "--json"]).exits(2);
}
