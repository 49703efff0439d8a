//! Agents search and read what is indexed, over the Model Context Protocol.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::support::agent::Agent;
use crate::support::daemon::Daemon;
use crate::support::local::{Local, STAGES, project};
use crate::support::python::python;
use crate::support::services::Services;
use crate::support::world::{World, redact};

/// Two repositories in two projects, indexed.
fn indexed() -> Local {
    let local = Local::new();
    local
        .repo
        .write("src/retry.rs", "/// Waits, then tries again.\nfn retry(times: u32) {\n    wait(times);\n}\n")
        .write("src/logo.png", b"\x89PNG\0\0")
        .commit("code");
    let line = |n: usize| format!("Line {n} of the manual describes upload {n}.\n\n");
    let long: Vec<String> = (1..=60).map(line).collect();
    let long = long.concat();
    local.world.repo("manual").write("manual.md", long).commit("first");
    local.config(&format!(
        "{STAGES}\n[projects.docs]\npipeline = [\"local\", \"prose\", \"model\", \"index\"]\nrepositories = [\"docs\"]\n\
         [projects.manual]\npipeline = [\"local\", \"prose\", \"model\", \"index\"]\nrepositories = [\"manual\"]\n"
    ));
    local.apply(&[]).exits(0);
    local
}

/// What an agent does: it looks around, searches, reads, and makes mistakes.
async fn session(agent: &Agent, local: &Local) -> String {
    let calls = [
        ("list_projects", json!({})),
        ("search", json!({"query": "where do I start?", "project": "docs", "limit": 2})),
        ("search", json!({"query": "retry", "languages": ["rust"], "limit": 1})),
        ("search", json!({"query": "upload 7", "paths": "*.md", "limit": 1, "mode": "keyword"})),
        ("read", json!({"repository": "docs", "path": "src/retry.rs", "start": 2, "end": 3})),
        ("read", json!({"repository": "manual", "path": "manual.md", "max_tokens": 300})),
        ("grep", json!({"pattern": "RETRY|start", "ignore_case": true})),
        ("grep", json!({"pattern": "upload 5\\d\\b", "paths": ["*.md"], "max_tokens": 250})),
        ("explain", json!({"repository": "docs", "path": "src/logo.png", "project": "docs"})),
        ("read", json!({"repository": "docs", "path": "src/logo.png"})),
        ("read", json!({"repository": "docs", "path": "retry.rs"})),
        ("read", json!({"repository": "nowhere", "path": "a.md"})),
        ("read", json!({"repository": "docs", "path": "README.md", "start": 9})),
        ("search", json!({"query": "x", "project": "nobody"})),
        ("search", json!({"question": "x"})),
        ("grep", json!({"pattern": "(?=x)"})),
        ("status", json!({"project": "nobody"})),
    ];
    let mut transcript = String::new();
    for (tool, arguments) in calls {
        let (mark, text) = match agent.call(tool, arguments.clone()).await {
            Ok(text) => ("", text),
            Err(text) => (" (error)", text),
        };
        transcript.push_str(&format!("> {tool} {arguments}{mark}\n{text}\n"));
    }
    for uri in ["reposync://docs/docs/src/retry.rs", "reposync://docs/docs/absent.md", "file:///etc/passwd"] {
        let read = agent.resource(uri).await.unwrap_or_else(|error| error);
        transcript.push_str(&format!("> resource {uri}\n{read}\n\n"));
    }
    redact(&transcript, &local.world.path(""))
}

#[tokio::test]
async fn a_session_is_the_same_over_both_transports() {
    let local = indexed();
    let agent = Agent::stdio(&local.world).await;
    let over_stdio = session(&agent, &local).await;
    let (code, stderr) = agent.leave().await.expect("a program");
    assert_eq!(code, Some(0), "{stderr}");
    insta::assert_snapshot!(over_stdio);
    let mut daemon = Daemon::start(&local.world);
    daemon.until_runs_of("manual", 1);
    let agent = Agent::http(&daemon).await;
    assert_eq!(session(&agent, &local).await, over_stdio);
}

#[tokio::test]
async fn tools_are_described_for_agents() {
    let local = Local::new();
    let agent = Agent::stdio(&local.world).await;
    let tools = agent.client.list_all_tools().await.expect("tools");
    for tool in &tools {
        let schema = serde_json::to_value(&tool.input_schema).expect("JSON");
        assert!(tool.description.as_ref().is_some_and(|text| text.len() > 60), "{}", tool.name);
        assert_eq!(schema["type"], "object", "{}", tool.name);
        jsonschema::validator_for(&schema).expect("a schema");
        for (name, property) in schema["properties"].as_object().expect("properties") {
            assert!(property["description"].is_string(), "{} {name}", tool.name);
        }
        let hints = tool.annotations.as_ref().expect("hints");
        assert_eq!((hints.read_only_hint, hints.destructive_hint), (Some(true), Some(false)));
    }
    insta::assert_json_snapshot!(tools.iter().find(|tool| tool.name == "search"));
}

/// Two clients at once, and what is indexed while a session lasts.
#[tokio::test]
async fn a_session_sees_what_is_indexed_later() {
    let local = Local::new();
    let (one, other) = tokio::join!(Agent::stdio(&local.world), Agent::stdio(&local.world));
    let ask = json!({"query": "where do I start?"});
    let never = one.call("search", ask.clone()).await.expect_err("nothing is indexed");
    assert!(
        never.contains("nothing is indexed yet of any project") && never.contains("reposync apply"),
        "{never}"
    );
    local.apply(&[]).exits(0);
    let (found, also) = tokio::join!(one.call("search", ask.clone()), other.call("search", ask.clone()));
    let found = found.expect("found");
    assert!(found.starts_with("[1] docs guide/start.md:1-1\n"), "{found}");
    assert_eq!(Ok(&found), also.as_ref());
    // A commit that is not indexed yet is seen by the next run, and told until it is indexed.
    local.config("[stages.x]\nkind = \"nothing\"\n");
    let invalid = one.call("search", ask.clone()).await.expect_err("an invalid file");
    assert!(invalid.starts_with("reposync.toml is invalid now: "), "{invalid}");
    local.config(&project(""));
    assert_eq!(one.call("search", ask).await, Ok(found));
}

#[tokio::test]
async fn an_answer_ends_within_its_budget_and_says_where_to_go_on() {
    let local = indexed();
    let agent = Agent::stdio(&local.world).await;
    let (mut offset, mut seen, mut pages) = (0, Vec::new(), 0);
    loop {
        let ask = json!({"pattern": "^Line", "project": "manual", "offset": offset, "max_tokens": 300});
        let text = agent.call("grep", ask).await.expect("lines");
        let lines = text.lines().filter(|line| line.contains(": Line "));
        seen.extend(lines.map(|line| line.split_once(": ").expect("a number").1.to_owned()));
        pages += 1;
        match text.trim_end().rsplit_once("go on with offset=") {
            Some((_, next)) => offset = next.trim_end_matches('.').parse().expect("a number"),
            None => break,
        }
    }
    assert!(pages > 3, "{pages}");
    let all: Vec<String> =
        (1..=60).map(|n| format!("Line {n} of the manual describes upload {n}.")).collect();
    assert_eq!(seen, all, "each line once, in order");
    let huge = agent.call("search", json!({"query": "word ".repeat(20_000), "limit": 1_000_000})).await;
    assert!(huge.expect("an answer").contains("Shown: 1 to"));
    for (tool, ask, said) in [
        ("search", json!({"query": " "}), "`query` is empty"),
        ("search", json!({"query": "x", "offset": 5000}), "`offset` is at most 1000"),
        ("search", json!({"query": "x", "paths": ["a["]}), "is not a glob"),
        ("search", json!({"query": "x", "limit": -1}), "do not fit the tool's schema"),
        ("grep", json!({"pattern": ""}), "`pattern` is empty"),
        ("grep", json!({"pattern": "x".repeat(100_000)}), "longer than 1000 bytes"),
        ("read", json!({"repository": "docs", "path": "README.md", "start": 3, "end": 1}), "is after `end`"),
    ] {
        let error = agent.call(tool, ask).await.expect_err(said);
        assert!(error.contains(said) && error.len() < 1000, "{error}");
    }
}

/// Two projects over one repository, as with different chunkers.
#[tokio::test]
async fn a_file_of_two_projects_is_searched_by_grep_once() {
    let local = Local::new();
    let other = "[projects.other]\npipeline = [\"local\", \"prose\", \"model\", \"index\"]\nrepositories = [\"docs\"]\n";
    local.config(&project(other));
    local.apply(&[]).exits(0);
    let agent = Agent::stdio(&local.world).await;
    let all = agent.call("grep", json!({"pattern": "Start"})).await.expect("lines");
    assert!(all.ends_with("1 lines; no further line matches.\n"), "{all}");
    let one = agent.call("grep", json!({"pattern": "Start", "project": "other"})).await.expect("lines");
    assert_eq!(one, all, "without the project's name, which is no part of the file");
}

/// Pinecone has the texts of single records, but cannot scan them.
#[tokio::test]
async fn a_store_without_texts_can_be_searched_and_read() {
    let services = Services::start();
    let repo = services.repository("guide", &[("start.md", "Start here and read on.\n".to_owned())]);
    services.apply(&[]).exits(0);
    let agent = Agent::stdio(&services.world).await;
    let found = agent.call("search", json!({"query": "start"})).await.expect("found");
    assert!(
        found.contains("[1] acme/guide start.md:1-1\n") && found.contains("commits_behind: 0\n"),
        "{found}"
    );
    assert!(found.contains(&format!("commit: {}", repo.sha("HEAD"))) && found.contains("url: "), "{found}");
    let read = agent.call("read", json!({"repository": "guide", "path": "start.md"})).await.expect("a file");
    assert!(read.contains("Start here and read on."), "{read}");
    let grep = agent.call("grep", json!({"pattern": "Start"})).await.expect_err("no scan");
    assert!(grep.contains("its store `pinecone` holds no texts that can be scanned; use search"), "{grep}");
}

/// `reposync mcp` with raw lines.
struct Raw {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Raw {
    fn start(world: &World) -> Self {
        let mut child = world.command(&["mcp"]).stdin(Stdio::piped()).spawn().expect("it starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut raw = Self { input: child.stdin.take(), child, output };
        raw.send(
            r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#,
        );
        assert_eq!(raw.receive()["result"]["serverInfo"]["name"], "reposync");
        raw.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        raw
    }

    fn send(&mut self, line: &str) {
        let input = self.input.as_mut().expect("open");
        input.write_all(format!("{line}\n").as_bytes()).and_then(|()| input.flush()).expect("it reads");
    }

    fn receive(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    fn ping(&mut self, id: u64) {
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": "ping"}).to_string());
        assert_eq!(self.receive(), json!({"jsonrpc": "2.0", "id": id, "result": {}}));
    }
}

#[test]
fn messages_that_are_none_end_no_session() {
    let local = Local::applied();
    let mut raw = Raw::start(&local.world);
    let long = "x".repeat(5 << 20);
    for ignored in ["{", "", "\u{7}", "nonsense", &long] {
        raw.send(ignored);
        raw.ping(1);
    }
    for (line, code) in [
        (r#"{"jsonrpc":"2.0","id":2,"method":7}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":3,"method":"no/such"}"#, -32601),
        (r#"{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"rm"}}"#, -32602),
        (r#"{"jsonrpc":"2.0","id":5,"method":"resources/read","params":{"uri":"x"}}"#, -32602),
    ] {
        raw.send(line);
        assert_eq!(raw.receive()["error"]["code"], code, "{line}");
        raw.ping(6);
    }
    // A call that is cancelled, and a client that leaves during one.
    let call = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "grep", "arguments": {"pattern": "x"}}});
    raw.send(&call.to_string());
    raw.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#);
    raw.send(r#"{"jsonrpc":"2.0","id":8,"method":"ping"}"#);
    while raw.receive()["id"] != 8 {}
    raw.send(&call.to_string());
    drop(raw.input.take());
    let ended = raw.child.wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() && !stderr.contains("panicked"), "{stderr}");
    // A client that says nothing, and a file that is no configuration.
    let silent = local.world.run(&["mcp"]).exits(0);
    assert_eq!(silent.stdout, "");
    local.config("[stages]\nx = 1\n");
    assert_eq!(local.world.run(&["mcp"]).exits(2).stdout, "");
}

#[test]
fn the_route_has_the_bounds_of_the_others() {
    let (_local, daemon) = Daemon::of_local();
    let accept = ("Accept", "application/json, text/event-stream");
    let json_type = ("Content-Type", "application/json");
    let list = br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let post = |headers: &[(&str, &str)], body: &[u8]| daemon.request("POST", "/mcp", headers, body);
    assert_eq!(
        post(&[accept, json_type], list).is(200).json()["result"]["tools"].as_array().map(Vec::len),
        Some(6)
    );
    assert_eq!(
        post(&[accept, json_type, ("Authorization", "Bearer wrong")], list).is(401).code(),
        "unauthorized"
    );
    assert_eq!(
        post(&[accept, json_type, ("Origin", "https://example.com")], list).is(403).code(),
        "forbidden"
    );
    assert_eq!(post(&[accept, json_type], &vec![b'x'; 3 << 20]).is(413).code(), "too_large");
    post(&[json_type], list).is(406);
    post(&[accept], list).is(415);
    for broken in [&b"{"[..], b"[]", b"7", b"", b"\xff\xfe"] {
        let answer = post(&[accept, json_type], broken);
        assert!((400..500).contains(&answer.status), "{} {}", answer.status, answer.body);
    }
    daemon.request("GET", "/mcp", &[("Accept", "text/event-stream")], b"").is(405);
    daemon.request("DELETE", "/mcp", &[], b"").is(405);
    // A client that leaves before its answer.
    let token = daemon.token.clone().expect("its own");
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "search", "arguments": {"query": "x"}}});
    let (call, address) = (call.to_string(), daemon.address());
    drop(daemon.half(&format!(
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nAccept: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{call}",
        accept.1,
        call.len()
    )));
    post(&[accept, json_type], list).is(200);
    let log = daemon.program.stderr();
    assert!(
        !log.contains("panicked") && !log.contains("who=\"local\""),
        "reading is no entry of the audit log: {log}"
    );
}

/// The SDK for Python is a second implementation of the protocol.
#[test]
fn the_python_sdk_is_served_over_both_transports() {
    let Some(python) = python("mcp", &["mcp==2.3.0"]) else { return };
    let (local, mut daemon) = Daemon::of_local();
    daemon.until_runs(1);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/it/fixtures/python/mcp_client.py");
    let config = local.world.path("reposync.toml");
    let url = format!("http://{}/mcp", daemon.address());
    let token = daemon.token.clone().expect("its own");
    let run = |arguments: &[&str]| -> Value {
        let output = Command::new(&python).arg(script).args(arguments).output().expect("Python starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let config = config.to_str().expect("UTF-8");
    let said = run(&["stdio", env!("CARGO_BIN_EXE_reposync"), "mcp", "--config", config]);
    assert_eq!(said["tools"], json!(["search", "read", "grep", "list_projects", "status", "explain"]));
    assert!(
        said["search"].as_str().is_some_and(|text| text.starts_with("[1] docs guide/start.md:1-1\n")),
        "{said}"
    );
    assert!(said["read"].as_str().is_some_and(|text| text.contains("Start here and read on.\n")), "{said}");
    assert_eq!(said["failed"], json!([true, "no repository `nowhere` is indexed; there are: docs"]));
    assert_eq!(said["resource"], "Stop there and go home.");
    assert_eq!(run(&["http", &url, &token]), said);
}
