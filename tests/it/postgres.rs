//! The state in a PostgreSQL database, with the real program and a real server.

use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::local::{Local, WORK, project};
use crate::support::postgres::Postgres;

/// A world whose state is in a database of its own; none where no server can be started.
fn local() -> Option<(Local, String)> {
    with_state(Local::new)
}

fn with_state(local: fn() -> Local) -> Option<(Local, String)> {
    let url = Postgres::start()?.database();
    let local = local();
    local.config(&on_server(&url));
    Some((local, url))
}

fn on_server(url: &str) -> String {
    format!("[engine]\nstate = \"{url}\"\n{}", project(""))
}

#[test]
fn runs_plans_and_queries_work_as_on_a_file() {
    let Some((local, _)) = with_state(Local::paid) else { return };
    local.world.run(&["query", "where to start"]).exits(3);
    let planned = local.world.ok(&["plan"]);
    assert!(!planned.stderr.contains("cannot be used"), "{}", planned.stderr);
    let first = local.apply(&[]).exits(0);
    assert_eq!(first.counts(WORK), [3, 0, 3, 0]);
    assert!(
        !local.world.path(".reposync/state.db").exists() && !local.world.path(".reposync/cache.db").exists()
    );
    local.repo.write("guide/start.md", "Start somewhere else.\n").commit("edit");
    let planned: Value =
        serde_json::from_str(&local.world.run(&["plan", "--json"]).exits(0).stdout).expect("JSON");
    assert_eq!(planned["projects"][0]["estimate"]["texts"], 1);
    let second = local.apply(&[]).exits(0);
    assert_eq!(second.counts(WORK), [1, 0, 1, 1]);
    local.repo.git(&["revert", "--no-edit", "HEAD"]);
    let third = local.apply(&[]).exits(0);
    assert_eq!(third.counts(WORK), [0, 1, 1, 1], "the vector is in the cache");
    local.world.ok(&["verify"]);
    let found = local.world.ok(&["query", "where to start"]);
    assert!(found.stdout.contains("guide/start.md"), "{}", found.stdout);
    let status: Value = serde_json::from_str(&local.world.ok(&["status", "--json"]).stdout).expect("JSON");
    assert_eq!((&status["projects"][0]["files"], &status["projects"][0]["vectors"]), (&3.into(), &3.into()));
    let history: Value = serde_json::from_str(&local.world.ok(&["history", "--json"]).stdout).expect("JSON");
    assert_eq!(history.as_array().map(Vec::len), Some(3));
    let explained = local.world.ok(&["explain", "guide/start.md"]);
    assert!(explained.stdout.contains("indexed       1 chunk"), "{}", explained.stdout);
    local.assert_as_built_from(&project(""));
}

#[test]
fn the_original_systems_tables_can_be_read() {
    let Some((local, url)) = local() else { return };
    local.apply(&[]).exits(0);
    let server = Postgres::start().expect("it runs");
    let rows = server
        .sql(&url, "SELECT project_id, file_path, embedding_count, status FROM sync_metadata ORDER BY 2");
    insta::assert_snapshot!(rows, @"
    docs|README.md|1|synced
    docs|guide/end.md|1|synced
    docs|guide/start.md|1|synced
    ");
    assert_eq!(server.sql(&url, "SELECT id, namespace, enabled FROM projects"), "docs|docs|t");
}

#[test]
fn a_second_run_waits_or_says_who_is_at_work() {
    let Some((local, url)) = local() else { return };
    local.apply(&[]).exits(0);
    let server = Postgres::start().expect("it runs");
    // As a process of another machine has it.
    server.sql(
        &url,
        "INSERT INTO leases (projects, process, until) VALUES ('{}', 77, now() + interval '1 hour')",
    );
    let refused = local.world.run(&["apply"]).exits(1);
    assert!(refused.stderr.contains("another run is in progress (process 77"), "{}", refused.stderr);
    let waiting = local.world.spawn(&["apply", "--wait"]);
    server.sql(&url, "UPDATE leases SET until = now()");
    assert_eq!(waiting.wait().code, Some(0));
}

#[test]
fn what_is_wrong_is_said_without_the_password() {
    let Some((local, url)) = local() else { return };
    for (state, more, expected) in [
        ("postgres://ann:hunter2hunter2@127.0.0.1:1/db", "", "the server runs"),
        ("postgres://ann:hunter2hunter2@127.0.0.1/db?sslmode=disable", "", "set `tls`"),
        ("postgres://ann:hunter2hunter2@db", "", "names no database"),
        (&*url, "[engine.postgres]\npool = 0\n", "outside 2 to 1000"),
        (&*url, "[engine.postgres]\npoll = 3\n", "did you mean"),
        ("state.db", "[engine.postgres]\npool = 4\n", "no PostgreSQL database"),
    ] {
        local.config(&format!("[engine]\nstate = \"{state}\"\n{more}{}", project("")));
        let ran = local.world.run(&["status"]);
        assert_ne!(ran.code, Some(0), "{state}");
        assert!(ran.stderr.contains(expected), "{state}: {}", ran.stderr);
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    }
}

#[test]
fn a_daemon_over_a_database_needs_a_token_of_its_own() {
    let Some((local, url)) = local() else { return };
    let refused = local.world.run(&["daemon"]).exits(2);
    assert!(refused.stderr.contains("needed with a state in PostgreSQL"), "{}", refused.stderr);
    local.config(&format!(
        "{}\n[api]\nlisten = \"127.0.0.1:0\"\ntoken = \"0123456789abcdef\"\n",
        on_server(&url)
    ));
    let mut daemon = Daemon::start(&local.world);
    daemon.token = Some("0123456789abcdef".into());
    daemon.post("/sync", &json!({})).is(202);
    daemon.until_runs(1);
    local.repo.write("guide/start.md", "Start somewhere else.\n").commit("edit");
    daemon.post("/sync", &json!({})).is(202);
    daemon.until_runs(2);
    // The lease is free between runs, and a command sees what the daemon did.
    assert_eq!(local.apply(&[]).exits(0).counts(WORK), [0; 4], "nothing is left to do");
    let audited = local.world.ok(&["audit", "--json"]);
    assert!(audited.stdout.contains("POST /sync"), "{}", audited.stdout);
    assert_eq!(daemon.stop().code, Some(0));
    local.assert_as_built_from(&project(""));
}

#[test]
fn a_state_is_copied_to_a_database_and_back() {
    let Some(server) = Postgres::start() else { return };
    let (local, url) = (Local::paid_and_applied(), server.database());
    local.repo.write("guide/start.md", "Start somewhere else.\n").commit("edit");
    local.apply(&[]).exits(0);
    let copied = local.world.ok(&["state", "copy", ".reposync/state.db", &url, "--json"]).json();
    assert_eq!(
        (&copied["files"], &copied["runs"], &copied["vectors"]),
        (&3.into(), &2.into(), &4.into()),
        "{copied}"
    );
    local.config(&on_server(&url));
    let run = local.apply(&[]).exits(0);
    assert_eq!(run.counts(WORK), [0; 4], "nothing to do");
    local.repo.git(&["revert", "--no-edit", "HEAD"]);
    assert_eq!(local.apply(&[]).exits(0).counts(WORK), [0, 1, 1, 1], "the vectors came along");
    local.world.ok(&["verify"]);

    let again = local.world.run(&["state", "copy", ".reposync/state.db", &url]).exits(1);
    assert!(again.stderr.contains("the target is not empty"), "{}", again.stderr);
    local.world.ok(&["state", "copy", &url, "back/state.db"]);
    local.config(&format!("[engine]\nstate = \"back/state.db\"\ncache = \"back\"\n{}", project("")));
    assert_eq!(local.apply(&[]).exits(0).counts(WORK), [0; 4], "nothing to do");
    for (from, to, expected) in
        [("nothing.db", "new.db", "there is no file"), ("back/state.db", "back/state.db", "the same state")]
    {
        let refused = local.world.run(&["state", "copy", from, to]).exits(2);
        assert!(refused.stderr.contains(expected), "{}", refused.stderr);
    }
    let wrong = local.world.run(&["state", "copy", "postgres://ann:hunter2hunter2@db", "new.db"]).exits(2);
    assert!(wrong.stderr.contains("FROM: it names no database"), "{}", wrong.stderr);
    assert!(!wrong.stderr.contains("hunter2"), "{}", wrong.stderr);
}
