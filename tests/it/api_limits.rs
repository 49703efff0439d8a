//! No client can starve others of the API: slow, silent, wrong and too many clients are limited.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::daemon::{API, Daemon, answer, status_line};
use crate::support::local::{Local, project};

#[test]
fn wrong_tokens_are_counted_and_logged_once_a_minute() {
    let local = Local::new();
    local.config(&project(&format!("{API}token = \"correct horse\"\n")));
    let mut daemon = Daemon::start(&local.world);
    let wrong = [("Authorization", "Bearer wrong")];
    for _ in 0..2 {
        daemon.request("GET", "/projects", &wrong, b"").is(401);
    }
    // Routes that need no token do not reveal whether a token is valid.
    let health = daemon.request("GET", "/health", &wrong, b"").is(200).json();
    assert!(health["projects"].is_null(), "{health}");
    daemon.token = Some("correct horse".to_owned());
    assert_eq!(daemon.metric("reposync_api_wrong_tokens_total"), 3);
    let log = daemon.program.stderr();
    assert_eq!(log.lines().filter(|line| line.contains("wrong token")).count(), 1, "{log}");
}

#[test]
fn half_sent_heads_make_room_for_each_other_and_keep_nobody_out() {
    let (_local, daemon) = Daemon::of_local();
    let mut half: Vec<TcpStream> = (0..100).map(|_| daemon.half("GET /health HTTP/1.1\r\nHost: x")).collect();
    assert_eq!(daemon.get("/health").is(200).json()["status"], "healthy");
    // The oldest connection was closed in favour of newer ones.
    assert_eq!(half[0].read(&mut [0; 8]).unwrap_or(0), 0);
    // The newest one was kept and can complete its request.
    let newest = half.last_mut().expect("a hundred");
    newest.write_all(b"\r\nConnection: close\r\n\r\n").expect("sent");
    answer(newest).is(200);
}

#[test]
fn authorized_connections_have_a_bound_and_streams_are_not_closed_for_newcomers() {
    let local = Local::new();
    local.config(&project(&format!("{API}max_connections = 2\n")));
    let lock = reposync::state::sqlite::RunLock::take(&local.world.path(".reposync/state.db")).expect("free");
    let mut daemon = Daemon::start(&local.world);
    daemon.until("a run", |daemon| !daemon.runs().is_empty());
    let run = daemon.runs()[0]["run"].as_str().expect("an id").to_owned();
    let request = format!(
        "GET /runs/{run}/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
        daemon.token.as_deref().expect("a token")
    );
    // Connections that have just made a request still count for a moment.
    let mut streams = Vec::new();
    daemon.until("two streams", |daemon| {
        let mut stream = daemon.half(&request);
        let opened = status_line(&mut stream).starts_with("HTTP/1.1 200 ");
        streams.extend(opened.then_some(stream));
        streams.len() == 2
    });
    let busy = daemon.get("/projects").is(503);
    assert_eq!(busy.code(), "busy");
    assert!(busy.head.to_lowercase().contains("retry-after: "), "{}", busy.head);
    // A probe is still answered, with what needs no authorization.
    assert!(daemon.get("/health").is(200).json()["projects"].is_null());
    let half: Vec<TcpStream> = (0..100).map(|_| daemon.half("GET / HTTP/1.1\r\n")).collect();
    drop(lock);
    for stream in &mut streams {
        let mut rest = String::new();
        stream.read_to_string(&mut rest).expect("to the end of the run");
        assert!(rest.contains("event: end"), "{rest}");
    }
    drop(half);
    daemon.until("room again", |daemon| daemon.get("/projects").status == 200);
}

#[test]
fn probes_have_a_listener_of_their_own_that_names_no_project() {
    let local = Local::new();
    local.config(&project(&format!("{API}token = \"correct horse\"\nprobe_listen = \"127.0.0.1:0\"\n")));
    let mut daemon = Daemon::start(&local.world);
    daemon.token = Some("correct horse".to_owned());
    daemon.until_runs(1);
    let health = daemon.probe("/health").is(200).json();
    assert!(health["status"] == "healthy" && health["projects"].is_null(), "{health}");
    let metrics = daemon.probe("/metrics").is(200).body;
    assert!(metrics.contains("reposync_files_processed_total 3\n"), "{metrics}");
    assert!(!metrics.contains("docs") && !metrics.contains("stage="), "{metrics}");
    assert!(daemon.get("/metrics").is(200).body.contains("{project=\"docs\"}"));
    for path in ["/", "/projects", "/runs", "/openapi.json", "/webhooks/github"] {
        assert_eq!(daemon.probe(path).is(404).code(), "not_found", "{path}");
    }
    daemon.stop().exits(0);
}

#[test]
fn garbage_and_slow_clients_keep_nobody_waiting() {
    let (_local, daemon) = Daemon::of_local();
    // Clients that send part of a request and then stop.
    let mut slow = Vec::new();
    for head in [
        "",
        "GET",
        "GET /health HTTP/1.1\r\nHost: x",
        "POST /sync HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{",
    ] {
        for _ in 0..25 {
            let mut stream = daemon.connect();
            stream.write_all(head.as_bytes()).expect("sent");
            slow.push(stream);
        }
    }
    for garbage in
        [b"\x16\x03\x01\x02\x00" as &[u8], b"GET / HTTP/9.9\r\n\r\n", b"\r\n\r\n\r\n", b"GET  \r\n\r\n"]
    {
        let mut stream = daemon.connect();
        stream.write_all(garbage).expect("sent");
        stream.shutdown(std::net::Shutdown::Write).expect("half closed");
        let answer = answer(&mut stream);
        assert!(matches!(answer.status, 0 | 400..=499), "{answer:?}");
    }
    let mut stream = daemon.connect();
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(1 << 20));
    drop(stream.write_all(long.as_bytes()));
    assert!(matches!(answer(&mut stream).status, 0 | 400..=499));
    assert_eq!(daemon.get("/health").is(200).json()["status"], "healthy");
    drop(slow);
}
