//! Every write through the API logs one audit entry, reads log none, and wrong tokens a limited number.

use std::io::Write;

use serde_json::{Value, json};

use crate::support::daemon::{API, Daemon};
use crate::support::local::{Local, project};

/// A daemon that logs to JSON files.
fn start(more: &str) -> (Local, Daemon) {
    let local = Local::new();
    local.config(&project(&format!("{API}{more}[engine]\nlog_dir = \"logs\"\n")));
    let daemon = Daemon::start(&local.world);
    (local, daemon)
}

/// Stops the daemon; returns the fields of the audit entries in its log, in order.
fn entries(local: &Local, daemon: Daemon) -> Vec<Value> {
    daemon.stop().exits(0);
    let mut text = String::new();
    for file in std::fs::read_dir(local.world.path("logs")).expect("a folder of logs") {
        let path = file.expect("a file").path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            text.push_str(&std::fs::read_to_string(path).expect("text"));
        }
    }
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let entries = lines.filter(|line| line["target"] == "audit");
    entries
        .map(|mut line| {
            assert!(line["level"] == "INFO" && line["timestamp"].is_string(), "{line}");
            line["fields"].take()
        })
        .collect()
}

/// Method, path, status and project of an entry.
fn short(entry: &Value) -> String {
    let text = |key: &str| entry[key].as_str().unwrap_or("-").to_owned();
    format!("{} {} {} {}", text("method"), text("route"), entry["status"], text("project"))
}

#[test]
fn every_write_leaves_one_entry_and_reading_leaves_none() {
    let (local, mut daemon) = start("");
    daemon.until_runs(1);
    let document = daemon.get("/openapi.json").is(200).json();
    let mut expected = Vec::new();
    let mut written = Vec::new();
    for (method, path, body, status) in [
        ("POST", "/sync", json!({ "project": "docs" }), 202),
        ("POST", "/sync", json!({}), 202),
        ("POST", "/sync", json!({ "project": "no\nsuch \u{202e}project" }), 404),
        ("POST", "/sync", json!({ "colour": 1 }), 400),
        ("POST", "/plans", json!({ "project": "docs" }), 201),
        ("POST", "/reload", json!({}), 200),
        ("POST", "/embeddings", json!({ "texts": ["x"], "project": "docs" }), 200),
        ("POST", "/upsert", json!({ "namespace": "docs", "vectors": [], "project": "docs" }), 400),
        ("DELETE", "/delete", json!({ "namespace": "docs", "ids": ["a"], "stage": "index" }), 409),
    ] {
        daemon.send(method, path, &body).is(status);
        expected.push(format!("{method} {path} {status} {}", body["project"].as_str().unwrap_or("-")));
        written.push(format!("{} {path}", method.to_lowercase()));
    }
    for path in [
        "/runs/unknown/cancel",
        "/plans/unknown/approve",
        "/plans/unknown/discard",
        "/queue/7/retry",
        "/queue/7/drop",
    ] {
        daemon.send("POST", path, &json!({})).is(404);
        expected.push(format!("POST {path} 404 -"));
        written.push(format!("post {}", path.replace("unknown", "{id}").replace('7', "{id}")));
    }
    daemon.post("/query", &json!({ "query": "where do I start?", "project": "docs" })).is(200);
    daemon.post("/process", &json!({ "text": "A text." })).is(200);
    daemon.post("/webhooks/github", &json!({})).is(404);
    for (path, methods) in document["paths"].as_object().expect("paths") {
        if methods.get("get").is_some() && !path.contains('{') {
            daemon.get(path);
        }
        for method in methods.as_object().expect("methods").keys().filter(|method| *method != "get") {
            let is_known = written.contains(&format!("{method} {path}"))
                || ["/query", "/process", "/webhooks/github"].contains(&path.as_str());
            assert!(is_known, "{method} {path}: does it leave an entry?");
        }
    }
    // A client that disconnects leaves an entry as well.
    let head = format!(
        "POST /sync HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Length: 99\r\n\r\n{{",
        daemon.token.as_deref().expect("a token")
    );
    let mut stream = daemon.connect();
    stream.write_all(head.as_bytes()).expect("sent");
    drop(stream);
    expected.push("POST /sync 400 -".to_owned());
    let audited = |said: &str| said.lines().filter(|line| line.contains(" audit ")).count();
    daemon.program.until("its entry", |program| audited(&program.stderr()) == expected.len());
    let said = daemon.program.stderr();
    let entries = entries(&local, daemon);
    assert_eq!(entries.iter().map(short).collect::<Vec<_>>(), expected);
    for entry in &entries {
        assert_eq!((&entry["who"], &entry["address"]), (&json!("local"), &json!("127.0.0.1")), "{entry}");
    }
    // Standard error has one line per entry, with input from the client escaped.
    let lines: Vec<&str> = said.lines().filter(|line| line.contains(" audit ")).collect();
    assert_eq!(lines.len(), expected.len(), "{said}");
    assert!(lines[0].contains("audit who=\"local\" address=127.0.0.1 method=POST"), "{}", lines[0]);
    assert!(lines[2].contains("\"no\\nsuch \\u{202e}project\""), "{}", lines[2]);
}

#[test]
fn a_refused_token_leaves_an_entry() {
    let (local, mut daemon) = start("token = \"correct horse\"\n");
    // A request without any token leaves no entry.
    daemon.post("/sync", &json!({})).is(401);
    let wrong = [("Authorization", "Bearer wrong")];
    daemon.request("GET", "/projects?project=docs", &wrong, b"").is(401);
    daemon.request("POST", "/sync", &wrong, b"{}").is(401);
    daemon.request("GET", "/health", &wrong, b"").is(200);
    daemon.token = Some("correct horse".to_owned());
    daemon.post("/reload", &json!({})).is(200);
    let entries = entries(&local, daemon);
    let known: Vec<_> = entries
        .iter()
        .map(|entry| format!("{} {}", entry["who"].as_str().unwrap_or("-"), short(entry)))
        .collect();
    let first = [
        "unknown GET /projects 401 -",
        "unknown POST /sync 401 -",
        "unknown GET /health 200 -",
        "api POST /reload 200 -",
    ];
    assert_eq!(known, first);
}
