//! Stored plans: a run carries out exactly the plan that somebody approved, once, and says why if it cannot.

use std::sync::Barrier;

use reposync::state::sqlite::RunLock;
use serde_json::{Value, json};

use crate::support::console::{Session, header};
use crate::support::daemon::{Answer, Daemon};
use crate::support::local::{Local, project};
use crate::support::postgres::Postgres;

const TOKENS: &str = "[api]\nlisten = \"127.0.0.1:0\"\ntoken = \"correct horse\"\n\
    [api.tokens.ops]\ntoken = \"ops-token\"\nscopes = [\"read\", \"sync\"]\n";

fn start() -> (Local, Daemon) {
    let local = Local::new();
    local.config(&project(TOKENS));
    let mut daemon = Daemon::start(&local.world);
    daemon.token = Some("correct horse".to_owned());
    daemon.until_runs(1);
    (local, daemon)
}

/// Makes a plan; its id.
#[track_caller]
fn plan(daemon: &Daemon, body: &Value) -> String {
    daemon.post("/plans", body).is(201).json()["id"].as_str().expect("an id").to_owned()
}

fn docs() -> Value {
    json!({ "project": "docs" })
}

fn decide(daemon: &Daemon, token: &str, id: &str, what: &str) -> Answer {
    let authorization = format!("Bearer {token}");
    daemon.request("POST", &format!("/plans/{id}/{what}"), &[("Authorization", &authorization)], b"")
}

/// The files of a plan with their signs.
fn changes(plan: &Value) -> Vec<String> {
    let files = plan["plan"]["projects"][0]["repositories"].as_array().into_iter().flatten();
    let files = files.flat_map(|repository| repository["files"].as_array().into_iter().flatten());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    files.map(|file| format!("{} {}", text(&file["action"]), text(&file["path"]))).collect()
}

/// The paths of the recorded files.
fn indexed(daemon: &Daemon) -> Vec<String> {
    let page = daemon.get("/projects/docs/files?repository=docs&limit=1000").is(200).json();
    let files = page["files"].as_array().expect("files").iter();
    files.map(|file| file["path"].as_str().expect("a path").to_owned()).collect()
}

#[test]
fn an_approved_plan_is_carried_out_exactly() {
    let (local, mut daemon) = start();
    local.repo.git(&["rm", "-q", "guide/end.md"]);
    local.repo.write("guide/new.md", "New here.\n").commit("planned");
    let made = daemon.post("/plans", &docs()).is(201).json();
    assert_eq!(changes(&made), ["remove guide/end.md", "add guide/new.md"], "{made}");
    assert_eq!((&made["status"], &made["created_by"]), (&json!("open"), &json!("api")));
    assert_eq!((&made["summary"]["added"], &made["summary"]["removed"]), (&json!(1), &json!(1)));
    assert_eq!(made["summary"]["estimate"]["texts"], 1, "{made}");
    let id = made["id"].as_str().expect("an id");
    assert_eq!(indexed(&daemon), ["README.md", "guide/end.md", "guide/start.md"], "nothing is done yet");
    local.repo.write("later.md", "Not planned.\n").commit("later");
    let run =
        decide(&daemon, "ops-token", id, "approve").is(202).json()["run"].as_str().expect("a run").to_owned();
    let ended = daemon.until_ended(&run);
    assert_eq!((&ended["trigger"], &ended["outcome"]), (&json!("plan"), &json!("done")), "{ended}");
    assert_eq!(indexed(&daemon), ["README.md", "guide/new.md", "guide/start.md"]);
    let kept = daemon.get(&format!("/plans/{id}")).is(200).json();
    assert_eq!(
        (&kept["status"], &kept["decided_by"], &kept["run"]),
        (&json!("approved"), &json!("ops"), &json!(run))
    );
    let list = daemon.get("/plans?project=docs").is(200).json();
    assert_eq!((list["plans"].as_array().map(Vec::len), &list["plans"][0]["plan"]), (Some(1), &Value::Null));
    assert_eq!(daemon.get("/plans?project=none").is(200).json()["plans"], json!([]));
    // The next run indexes what came later.
    daemon.post("/sync", &docs()).is(202);
    daemon.until("the later file", |daemon| indexed(daemon).contains(&"later.md".to_owned()));
    let audit = daemon.get("/audit?project=docs").is(200).json();
    let asked = |what: &str| {
        let mut entries = audit["entries"].as_array().expect("entries").iter();
        entries.any(|entry| entry["what"] == what)
    };
    assert!(asked("POST /plans") && asked(&format!("POST /plans/{id}/approve")), "{audit}");
}

#[test]
fn of_two_people_who_approve_one_plan_one_succeeds() {
    let (local, mut daemon) = start();
    local.repo.write("guide/new.md", "New here.\n").commit("planned");
    for _ in 0..3 {
        let id = plan(&daemon, &docs());
        let together = Barrier::new(4);
        let approve = |token: &'static str| {
            together.wait();
            decide(&daemon, token, &id, "approve")
        };
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let tokens = ["ops-token", "correct horse", "ops-token", "correct horse"];
            let asking: Vec<_> = tokens.map(|token| scope.spawn(move || approve(token))).into();
            asking.into_iter().map(|one| one.join().expect("answered")).collect()
        });
        let (accepted, refused): (Vec<Answer>, Vec<Answer>) =
            answers.into_iter().partition(|answer| answer.status == 202);
        assert_eq!(accepted.len(), 1, "{refused:?}");
        let run = accepted[0].json()["run"].as_str().expect("a run").to_owned();
        for answer in refused {
            assert_eq!(answer.clone().is(409).code(), "decided");
            assert!(
                answer.body.contains("has approved the plan") && answer.body.contains(&run),
                "{}",
                answer.body
            );
        }
        daemon.until_ended(&run);
    }
    daemon.until("three runs", |daemon| {
        daemon.triggers().iter().filter(|trigger| *trigger == "plan").count() == 3
    });
}

#[test]
fn a_discarded_plan_cannot_be_approved() {
    let (_local, daemon) = start();
    let id = plan(&daemon, &docs());
    let discarded = decide(&daemon, "ops-token", &id, "discard").is(200).json();
    assert_eq!(discarded["status"], "discarded");
    for what in ["approve", "discard"] {
        let refused = decide(&daemon, "correct horse", &id, what).is(409);
        assert_eq!(refused.code(), "decided");
        assert!(refused.body.contains("`ops` has discarded the plan at 20"), "{}", refused.body);
    }
    for path in ["/plans/unknown", "/plans/%00"] {
        assert_eq!(daemon.get(path).is(404).code(), "not_found");
    }
    assert_eq!(decide(&daemon, "ops-token", "unknown", "approve").is(404).code(), "not_found");
    daemon.post("/plans", &json!({ "project": "none" })).is(404);
    daemon.post("/plans", &json!({})).is(400);
    assert_eq!(daemon.runs().len(), 1);
}

#[test]
fn a_plan_is_stale_once_the_configuration_has_changed() {
    let (local, mut daemon) = start();
    local.repo.write("guide/new.md", "New here.\n").commit("planned");
    let id = plan(&daemon, &docs());
    local.config(&project(TOKENS).replace("max_chunk_size = 200", "max_chunk_size = 150"));
    local.world.ok(&["reload"]);
    let refused = decide(&daemon, "correct horse", &id, "approve").is(409);
    assert_eq!(refused.code(), "stale");
    assert!(
        refused.body.contains("the configuration or a component of project `docs` has changed"),
        "{}",
        refused.body
    );
    let kept = daemon.get(&format!("/plans/{id}")).is(200).json();
    assert!(kept["stale"].as_str().is_some_and(|why| why.contains("has changed since")), "{kept}");
    assert_eq!(kept["status"], "open");
    let session = Session::of(&daemon, "correct horse");
    let page = session.get(&daemon, &format!("/console/plans/{id}")).is(200).body;
    assert!(page.contains("cannot be approved any more") && !page.contains("/approve\""), "{page}");
    // What the edit caused is no run of the plan.
    daemon.until_runs(2);
    assert!(!daemon.triggers().contains(&"plan".to_owned()), "{:?}", daemon.triggers());
}

#[test]
fn withheld_deletions_are_seen_and_allowed_by_an_administrator_alone() {
    let local = Local::new();
    for n in 0..120 {
        local.repo.write(&format!("old/{n}.md"), format!("Page {n} of the old manual.\n"));
    }
    local.repo.commit("many");
    local.config(&project(TOKENS));
    let mut daemon = Daemon::start(&local.world);
    daemon.token = Some("correct horse".to_owned());
    daemon.until_runs(1);
    local.repo.git(&["rm", "-q", "-r", "old"]);
    local.repo.commit("the old manual goes");
    let withheld = daemon.post("/plans", &docs()).is(201).json();
    assert_eq!((&withheld["summary"]["withheld"], &withheld["summary"]["removed"]), (&json!(120), &json!(0)));
    let id = withheld["id"].as_str().expect("an id");
    for what in ["approve", "discard"] {
        let refused = decide(&daemon, "ops-token", id, what).is(403);
        assert!(refused.body.contains("`admin`"), "{}", refused.body);
    }
    let allowed = json!({ "project": "docs", "allow_deletes": true });
    let authorization = [("Authorization", "Bearer ops-token"), ("Content-Type", "application/json")];
    daemon.request("POST", "/plans", &authorization, allowed.to_string().as_bytes()).is(403);
    // On the pages: somebody with the scope `sync` sees what is withheld, and no button.
    let ops = Session::of(&daemon, "ops-token");
    let page = ops.get(&daemon, &format!("/console/plans/{id}")).is(200).body;
    assert!(page.contains("Withheld by the deletion guard") && !page.contains("/approve\""), "{page}");
    let own = Session::of(&daemon, "correct horse");
    let page = format!("/console/plans/{id}");
    let made = own.post(&daemon, &page, "/console/projects/docs/plan", "allow_deletes=1").is(303);
    let page = header(&made, "location").expect("the new plan");
    assert!(own.get(&daemon, &page).is(200).body.contains("deletions are allowed"));
    ops.post(&daemon, "/console", &format!("{page}/approve"), "").is(403);
    let approved = own.post(&daemon, &page, &format!("{page}/approve"), "").is(303);
    let run = header(&approved, "location").expect("the run").rsplit('/').next().expect("an id").to_owned();
    let ended = daemon.until_ended(&run);
    assert_eq!(ended["report"]["projects"][0]["counts"]["files_removed"], 120, "{ended}");
    assert_eq!(indexed(&daemon).len(), 3);
    // A later decision is refused with a page that says why.
    let late = own.post(&daemon, "/console", &format!("{page}/approve"), "").is(409);
    assert!(late.body.contains("has approved the plan"), "{}", late.body);
}

#[test]
fn a_plan_whose_run_is_cancelled_before_it_begins_is_open_again() {
    let (local, mut daemon) = start();
    // Another process is at work, so the first run waits for it, and the second one for the first.
    let held = RunLock::take(&local.world.path(".reposync/state.db")).expect("free");
    let plans = [plan(&daemon, &docs()), plan(&daemon, &docs())];
    let approve = |daemon: &Daemon, id: &str| {
        decide(daemon, "ops-token", id, "approve").is(202).json()["run"].as_str().expect("a run").to_owned()
    };
    let runs = [approve(&daemon, &plans[0]), approve(&daemon, &plans[1])];
    daemon.until("a run that waits", |daemon| daemon.get("/projects").json()["waiting_for"].is_object());
    assert_eq!(daemon.get(&format!("/runs/{}", runs[1])).is(200).json()["status"], "queued");
    for (run, plan) in [(&runs[1], &plans[1]), (&runs[0], &plans[0])] {
        daemon.post(&format!("/runs/{run}/cancel"), &json!({})).is(202);
        daemon.until("the open plan", |daemon| {
            daemon.get(&format!("/plans/{plan}")).json()["status"] == "open"
        });
    }
    drop(held);
    let run = approve(&daemon, &plans[1]);
    assert_eq!(daemon.until_ended(&run)["outcome"], "done");
}

#[test]
fn plans_outlive_the_daemon() {
    let (local, daemon) = start();
    let id = plan(&daemon, &docs());
    local.world.write(".reposync/plan-left-behind/plan", "of a daemon that was killed");
    daemon.stop().exits(0);
    let mut daemon = Daemon::start(&local.world);
    daemon.token = Some("correct horse".to_owned());
    daemon.until_runs(2);
    assert!(!local.world.path(".reposync/plan-left-behind").exists());
    let kept = daemon.get(&format!("/plans/{id}")).is(200).json();
    assert_eq!((&kept["status"], &kept["stale"]), (&json!("open"), &Value::Null), "{kept}");
    let run = decide(&daemon, "correct horse", &id, "approve").is(202).json()["run"]
        .as_str()
        .expect("a run")
        .to_owned();
    assert_eq!(daemon.until_ended(&run)["outcome"], "done");
}

#[test]
fn plans_and_usage_are_kept_in_a_database_too() {
    let Some(server) = Postgres::start() else { return };
    let local = Local::new();
    local.config(&format!("[engine]\nstate = \"{}\"\n{}", server.database(), project(TOKENS)));
    let mut daemon = Daemon::start(&local.world);
    daemon.token = Some("correct horse".to_owned());
    daemon.until_runs(1);
    local.repo.write("guide/new.md", "New here.\n").commit("planned");
    let id = plan(&daemon, &docs());
    let approved = decide(&daemon, "ops-token", &id, "approve").is(202).json();
    daemon.until_ended(approved["run"].as_str().expect("a run"));
    assert_eq!(indexed(&daemon).len(), 4);
    assert_eq!(decide(&daemon, "ops-token", &id, "approve").is(409).code(), "decided");
    let usage = daemon.get("/usage?project=docs").is(200).json();
    assert_eq!((&usage["total"]["runs"], &usage["total"]["texts"]), (&json!(2), &json!(4)), "{usage}");
    assert_eq!(usage["days"].as_array().map(Vec::len), Some(30), "{usage}");
    for refused in ["since=2026-02-01&until=2026-01-01", "since=2020-01-01", "since=yesterday"] {
        daemon.get(&format!("/usage?{refused}")).is(400);
    }
    daemon.get("/usage?project=none").is(404);
}
