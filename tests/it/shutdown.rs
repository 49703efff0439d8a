//! Shutdown of the daemon, what prevents it from starting, and recovery after a kill.

use chrono::{Duration, Timelike, Utc};
use rusqlite::Connection;
use serde_json::json;

use crate::support::daemon::{API, Daemon};
use crate::support::http::{Fault, Server};
use crate::support::local::{Local, STAGES, project};
use crate::support::services::Services;

fn local() -> Local {
    let local = Local::new();
    local.config(&project(API));
    local
}

/// A project whose embedding service never answers.
fn stuck(service: &Server) -> Local {
    let local = Local::new();
    let stages = STAGES.replace(
        "kind = \"local\"",
        &format!(
            "kind = \"openai\"\nbase_url = \"{}\"\nmodel = \"m\"\ndimensions = 8\napi_key = \"k\"",
            service.url()
        ),
    );
    local.config(&project(API).replace(STAGES, &stages));
    local
}

#[test]
fn sigterm_and_sigint_end_it_with_zero_and_release_the_ledger() {
    for signal in ["TERM", "INT"] {
        let local = local();
        let mut daemon = Daemon::start(&local.world);
        daemon.until_runs(1);
        daemon.program.signal(signal);
        daemon.program.wait().exits(0);
        local.world.ok(&["apply"]);
    }
}

#[test]
fn it_ends_in_the_middle_of_a_run() {
    let service = Server::silent();
    let local = stuck(&service);
    let mut daemon = Daemon::start(&local.world);
    daemon.until("a call in flight", |_| !service.requests().is_empty());
    daemon.stop().exits(0);
    let history = local.world.ok(&["history", "--json"]).json();
    let outcome = &history[0]["report"]["outcome"];
    assert_eq!(outcome, "interrupted", "{history}");
}

#[test]
fn a_second_signal_leaves_at_once() {
    let service = Server::silent();
    let local = stuck(&service);
    let mut daemon = Daemon::start(&local.world);
    daemon.until("a run", |daemon| daemon.metric("reposync_runs_active") == 1);
    let id = daemon.program.id().to_string();
    let both = std::process::Command::new("sh")
        .args(["-c", "kill -TERM $1; kill -INT $1", "sh", &id])
        .status()
        .expect("a shell");
    assert!(both.success());
    let code = daemon.program.wait().code;
    assert!(matches!(code, Some(0 | 130)), "{code:?}");
}

#[test]
fn killed_in_a_run_and_down_over_its_schedule_it_catches_up_once() {
    let services = Services::start();
    let _repo = services.with_pages("api", 12);
    // Hourly, half an hour from now: the schedule does not fire while this test runs.
    let minute = (Utc::now().minute() + 30) % 60;
    let schedule = format!("namespace = \"handbook\"\nschedule = \"{minute} * * * *\"");
    services
        .world
        .config(&format!("{}{API}", services.file().replace("namespace = \"handbook\"", &schedule)));
    services.pinecone.server.fail("/vectors/upsert", Fault::AnswerHeld);
    let mut daemon = Daemon::start(&services.world);
    daemon.until("the write", |_| services.pinecone.server.faults_left() == 0);
    let killed = daemon.runs()[0]["run"].clone();
    daemon.kill();
    // Simulates five hours of downtime, so five scheduled times were missed.
    let ledger = Connection::open(services.world.path(".reposync/state.db")).expect("a ledger");
    let began = (Utc::now() - Duration::hours(5)).to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    assert_eq!(ledger.execute("UPDATE runs SET started_at = ?1", [began]).expect("the runs"), 1);
    drop(ledger);

    let mut daemon = Daemon::start(&services.world);
    daemon.until_state("handbook", "current");
    assert_eq!(daemon.triggers(), ["start"], "one run for whatever was missed");
    let runs = daemon.runs();
    assert_eq!((runs.len(), &runs[1]["run"], &runs[1]["status"]), (2, &killed, &json!("interrupted")));
    let next = daemon.project("handbook")["next_run"].as_str().expect("a time").to_owned();
    let next = next.parse::<chrono::DateTime<Utc>>().expect("a time") - Utc::now();
    assert!(next > Duration::zero() && next <= Duration::hours(1), "{next}");
    daemon.stop().exits(0);
    services.world.ok(&["verify"]);
    services.assert_as_fresh();
    let (texts, times) = services.paid();
    assert!(times - texts <= texts, "only texts in flight are paid for again: {times} for {texts}");
}

#[test]
fn a_taken_port_and_a_second_daemon_are_reported_at_once() {
    let local = local();
    let daemon = Daemon::start(&local.world);
    let second = local.world.run(&["daemon"]).exits(1);
    let told = format!("another daemon serves this ledger (process {}, listening on", daemon.program.id());
    assert!(second.stderr.contains(&told), "{}", second.stderr);

    let address = daemon.address();
    let taken = project(&format!("[engine]\nstate = \"other/state.db\"\n[api]\nlisten = \"{address}\"\n"));
    local.world.write("other.toml", taken);
    let third = local.world.run(&["daemon", "--config", "other.toml"]).exits(1);
    assert!(third.stderr.contains(&format!("cannot listen on {address}")), "{}", third.stderr);
    assert!(!local.world.path("other").exists(), "nothing was begun");
}

#[test]
fn an_invalid_file_does_not_start() {
    let local = Local::new();
    local.config("[projects.x]\n");
    local.world.run(&["daemon"]).exits(2);
}

#[test]
#[cfg(unix)]
fn systemd_is_told_when_it_is_ready_alive_and_when_it_stops() {
    let local = local();
    let path = local.world.path("notify.sock");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(std::time::Duration::from_secs(60))).expect("a time-out");
    let Local { world, repo, .. } = local;
    let world = world.env("NOTIFY_SOCKET", path.to_str().expect("UTF-8"));
    let world = world.env("WATCHDOG_USEC", "200000");
    let mut buffer = [0; 64];
    let mut next = || {
        let n = socket.recv(&mut buffer).expect("a datagram");
        String::from_utf8_lossy(&buffer[..n]).trim_end().to_owned()
    };
    let daemon = Daemon::start(&world);
    assert_eq!(next(), "READY=1");
    for _ in 0..3 {
        assert_eq!(next(), "WATCHDOG=1");
    }
    daemon.stop().exits(0);
    let last = loop {
        match next().as_str() {
            "WATCHDOG=1" => {}
            other => break other.to_owned(),
        }
    };
    assert_eq!(last, "STOPPING=1");
    drop(repo);
}
