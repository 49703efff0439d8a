//! The API: authorization, answers, and that no input breaks it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reposync::api::{Listen, Metrics, bind};
use reposync::config::{Need, load};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::daemon::{API, Daemon, answer};
use crate::support::local::{Local, STAGES, project};

#[test]
fn with_a_token_everything_but_health_wants_it() {
    let local = Local::new();
    local.config(&project(&format!("{API}token = \"correct horse\"\n")));
    let mut daemon = Daemon::start(&local.world);
    let health = daemon.get("/health").is(200).json();
    assert!(health["projects"].is_null() && health["status"] == "healthy", "{health}");
    for path in ["/metrics", "/openapi.json", "/runs", "/projects", "/plan", "/describe", "/runs/x/events"] {
        assert_eq!(daemon.get(path).is(401).code(), "unauthorized", "{path}");
    }
    for bad in ["Bearer wrong", "Bearer ", "Basic correct horse", "correct horse"] {
        daemon.request("GET", "/projects", &[("Authorization", bad)], b"").is(401);
    }
    assert_eq!(daemon.post("/sync", &json!({})).is(401).code(), "unauthorized");
    assert_eq!(daemon.post("/webhooks/github", &json!({})).is(404).code(), "not_found");
    daemon.token = Some("correct horse".to_owned());
    // With a token, neither `Origin` nor `Host` matters.
    daemon
        .request("GET", "/projects", &[("Origin", "https://example.com"), ("Host", "example.com")], b"")
        .is(200);
    daemon.until_runs(1);
    let docs = daemon.get("/health").is(200).json()["projects"][0].clone();
    assert_eq!((&docs["seconds_behind"], &docs["indexed_commit"]), (&json!(0), &docs["head"]));
    // An edited token applies at once.
    local.config(&project(&format!("{API}token = \"battery staple\"\n")));
    daemon.token = Some("battery staple".to_owned());
    daemon.until("the new token", |daemon| daemon.get("/projects").status == 200);
    local.world.ok(&["reload"]);
    let record = local.world.read(".reposync/state.db.daemon");
    assert!(!record.contains("staple") && !daemon.program.stderr().contains("staple"));
}

#[tokio::test]
async fn health_needs_none_of_the_threads_that_runs_keep_busy() {
    let local = Local::new();
    local.config(&project(API));
    let need = Need::enabled().with_api();
    let config = load(&local.world.path("reposync.toml"), &need).expect("valid");
    let listen = Listen { listen: config.api.listen, probe: None, tls: None };
    let server = bind(listen).await.expect("a free port");
    let address = server.listening().listen;
    let (metrics, cancel) = (Arc::new(Metrics::new()), CancellationToken::new());
    let daemon = reposync::daemon::Daemon::open(config, need, metrics.observer(), cancel.clone());
    let daemon = daemon.await.expect("a ledger in order");
    let serving = server.start(daemon.handle(), metrics).expect("a thread");
    // The daemon has only this thread, which is blocked here.
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).expect("a time-out");
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    assert_eq!(answer(&mut stream).is(200).json()["ready"], true);
    cancel.cancel();
    serving.ended().await.expect("no fault");
    assert!(TcpStream::connect(address).is_err(), "it no longer listens");
}

#[test]
#[cfg(target_os = "linux")]
fn the_api_thread_has_priority_over_the_workers() {
    let (_local, daemon) = Daemon::of_local();
    let mut niceness: std::collections::BTreeMap<String, Vec<i32>> = std::collections::BTreeMap::new();
    for thread in std::fs::read_dir(format!("/proc/{}/task", daemon.program.id())).expect("threads") {
        let stat = std::fs::read_to_string(thread.expect("a thread").path().join("stat"));
        // A thread may have ended meanwhile. After the name, in parentheses: state (3rd), …, niceness
        // (19th).
        let Ok(stat) = stat else { continue };
        let (name, rest) = stat.rsplit_once(')').expect("a name");
        let name = name.split_once('(').expect("a name").1.to_owned();
        let nice = rest.split_whitespace().nth(16).expect("fields").parse().expect("a number");
        niceness.entry(name).or_default().push(nice);
    }
    let (api, work) = (&niceness["api"], &niceness["tokio-rt-worker"]);
    assert!(work.iter().all(|nice| *nice == (api[0] + 5).min(19)), "{niceness:?}");
}

#[test]
fn without_a_token_in_the_file_no_web_page_may_ask() {
    let (_local, daemon) = Daemon::of_local();
    for headers in [
        [("Origin", "https://example.com")],
        [("Origin", "null")],
        [("Host", "example.com")],
        [("Host", "127.0.0.1.example.com")],
        [("Host", "")],
        [("Sec-Fetch-Site", "cross-site")],
        [("Sec-Fetch-Site", "same-site")],
    ] {
        assert_eq!(
            daemon.request("GET", "/projects", &headers, b"").is(403).code(),
            "forbidden",
            "{headers:?}"
        );
    }
    for host in ["localhost", "127.0.0.1:1", "[::1]:8080"] {
        daemon.request("GET", "/projects", &[("Host", host)], b"").is(200);
    }
    daemon.request("GET", "/health", &[("Host", "example.com")], b"").is(200);
    daemon.request("GET", "/projects", &[("Sec-Fetch-Site", "same-origin")], b"").is(200);
    // A link on another site may lead to pages of the console only.
    let link =
        [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")];
    daemon.request("GET", "/", &link, b"").is(303);
    daemon.request("GET", "/console/runs", &link, b"").is(303);
    assert_eq!(daemon.request("GET", "/projects", &link, b"").is(403).code(), "forbidden");
    for host in ["localhost:x@evil.example", "localhost:80@evil.example", "a b"] {
        let answer = daemon.request("GET", "/projects", &[("Host", host)], b"").is(400);
        assert_eq!(answer.code(), "bad_request", "{host}");
    }
    daemon.request("GET", "/projects", &[("Host", "localhost"), ("Host", "localhost")], b"").is(400);
}

#[test]
fn every_answer_has_the_security_headers() {
    let (_local, daemon) = Daemon::of_local();
    let large = vec![b'x'; (2 << 20) + 1];
    for (method, path, headers, body) in [
        ("GET", "/health", &[] as &[(&str, &str)], b"" as &[u8]),
        ("GET", "/", &[], b""),
        ("GET", "/metrics", &[], b""),
        ("GET", "/nothing", &[], b""),
        ("DELETE", "/health", &[], b""),
        ("POST", "/query", &[], b"{"),
        ("POST", "/process", &[], &large),
        ("GET", "/projects", &[("Sec-Fetch-Site", "cross-site")], b""),
        ("GET", "/projects", &[("Host", "@")], b""),
    ] {
        let head = daemon.request(method, path, headers, body).head.to_lowercase();
        for header in [
            "x-content-type-options: nosniff",
            "cache-control: no-store",
            "cross-origin-resource-policy: same-origin",
            "frame-ancestors 'none'",
        ] {
            assert!(head.contains(header), "{method} {path}: no {header} in {head}");
        }
    }
}

#[test]
fn every_error_has_the_same_form() {
    let (_local, daemon) = Daemon::of_local();
    let large = vec![b'x'; (2 << 20) + 1];
    let json = [("Content-Type", "application/json")];
    for (method, path, body, status, code) in [
        ("GET", "/nothing", b"" as &[u8], 404, "not_found"),
        ("GET", "/runs/%FF", b"", 404, "not_found"),
        ("DELETE", "/health", b"", 405, "method_not_allowed"),
        ("GET", "/sync", b"", 405, "method_not_allowed"),
        ("POST", "/sync", b"{", 400, "bad_request"),
        ("POST", "/sync", b"[]x", 400, "bad_request"),
        ("POST", "/sync", b"{\"colour\": 1}", 400, "bad_request"),
        ("POST", "/sync", b"{\"full\": \"yes\"}", 400, "bad_request"),
        ("POST", "/query", b"\xff\xfe", 400, "bad_request"),
        ("POST", "/query", b"", 400, "bad_request"),
        ("POST", "/query", b"{\"query\": \" \"}", 400, "bad_request"),
        ("POST", "/query", b"{\"query\": \"x\", \"top_k\": 0}", 400, "bad_request"),
        ("POST", "/query", b"{\"query\": \"x\", \"project\": \"y\"}", 404, "not_found"),
        ("POST", "/query", b"{\"query\": \"x\", \"filter\": {\"$no\": 1}}", 422, "refused"),
        ("POST", "/process", &large, 413, "too_large"),
        ("GET", "/runs?limit=0", b"", 400, "bad_request"),
        ("GET", "/runs?limit=x", b"", 400, "bad_request"),
        ("GET", "/runs?colour=red", b"", 400, "bad_request"),
        ("GET", "/content?repo=docs", b"", 400, "bad_request"),
        ("GET", "/content?repo=other&path=README.md", b"", 404, "not_found"),
        ("GET", "/content?repo=docs&path=../x", b"", 404, "not_found"),
        ("GET", "/content?repo=docs&path=guide", b"", 404, "not_found"),
        ("GET", "/changes?repo=../docs", b"", 404, "not_found"),
        ("GET", "/changes?repo=docs&last_commit=zz", b"", 400, "bad_request"),
        ("GET", "/describe?stage=prose", b"", 404, "not_found"),
        ("POST", "/embeddings", b"{\"texts\": []}", 400, "bad_request"),
        ("POST", "/embeddings", b"{\"texts\": [\"\"]}", 422, "refused"),
        (
            "POST",
            "/upsert",
            b"{\"namespace\": \"docs\", \"vectors\": [{\"id\": \"a\", \"values\": [1]}]}",
            409,
            "owned",
        ),
        ("DELETE", "/delete", b"{\"namespace\": \"docs\", \"ids\": [\"a\"]}", 409, "owned"),
        ("DELETE", "/delete", b"{\"namespace\": \"docs \", \"ids\": [\"a\"]}", 400, "bad_request"),
        ("DELETE", "/delete", b"{\"namespace\": \"a\\u0007\", \"ids\": [\"a\"]}", 400, "bad_request"),
        ("DELETE", "/delete", b"{\"namespace\": \"\", \"ids\": [\"a\"]}", 400, "bad_request"),
    ] {
        let answer = daemon.request(method, path, &json, body);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{method} {path}: {}",
            answer.body
        );
    }
}

#[test]
fn the_operations_of_the_original_services() {
    let (local, mut daemon) = Daemon::of_local();
    let head = local.repo.sha("HEAD").to_string();
    let repositories = daemon.get("/repositories").is(200).json();
    assert_eq!(repositories["repositories"][0]["name"], "docs");

    let content = daemon.get("/content?repo=docs&path=guide%2Fstart.md").is(200).json();
    assert_eq!(content["content"], "Start here and read on.\n");
    assert_eq!((&content["commit"], &content["encoding"]), (&json!(head), &json!("utf-8")));

    let all = daemon.get("/changes?repo=docs").is(200).json();
    assert_eq!(all["files"].as_array().expect("files").len(), 3);
    local.repo.write("guide/end.md", "It ends otherwise.\n").write("bytes.bin", b"\x00\xff").commit("second");
    let since = daemon.get(&format!("/changes?repo=docs&last_commit={head}")).is(200).json();
    let statuses: Vec<_> = since["files"]
        .as_array()
        .expect("files")
        .iter()
        .map(|file| (file["path"].clone(), file["status"].clone()))
        .collect();
    assert_eq!(statuses, [(json!("bytes.bin"), json!("added")), (json!("guide/end.md"), json!("modified"))]);
    let bytes = daemon.get("/content?repo=docs&path=bytes.bin").is(200).json();
    assert_eq!((&bytes["encoding"], &bytes["content"]), (&json!("base64"), &json!("AP8=")));
    let before = daemon.get(&format!("/content?repo=docs&path=guide/end.md&commit={head}")).is(200).json();
    assert_eq!(before["content"], "Stop there and go home.\n");

    // A commit that no branch contains any more, and a file that the project does not select.
    local.repo.write("guide/end.md", "A key that was taken back.\n").commit("taken back");
    let gone = local.repo.sha("HEAD").to_string();
    local.repo.git(&["reset", "-q", "--hard", "HEAD~1"]);
    daemon.get(&format!("/content?repo=docs&path=guide/end.md&commit={gone}")).is(422);
    daemon.get(&format!("/changes?repo=docs&last_commit={gone}")).is(422);

    let text = "One sentence. ".repeat(40);
    let chunks = daemon.post("/process", &json!({ "text": text, "path": "a.md" })).is(200).json();
    let chunks = chunks["chunks"].as_array().expect("chunks").clone();
    assert!(
        chunks.len() > 1 && chunks[0]["text"].as_str().is_some_and(|text| text.chars().count() <= 200),
        "{chunks:?}"
    );
    let none = daemon.post("/process", &json!({ "text": " \n", "path": "a.md" })).is(200).json();
    assert_eq!((&none["chunks"], &none["skipped"]), (&json!([]), &json!("empty")));

    let made = daemon.post("/embeddings", &json!({ "texts": ["Start here", "Stop there"] })).is(200).json();
    let vectors = made["embeddings"].as_array().expect("vectors").clone();
    assert_eq!(
        (vectors.len(), &made["dimensions"]),
        (2, &json!(vectors[0].as_array().expect("numbers").len()))
    );
    let again = daemon.post("/embeddings", &json!({ "texts": ["Start here"] })).is(200).json();
    assert_eq!(
        (&again["embeddings"][0], &again["cached"]),
        (&vectors[0], &json!(0)),
        "the built-in model has no cache"
    );

    let record = json!({ "id": "own-1", "values": vectors[0], "metadata": { "text": "mine", "stars": 3 } });
    let body = json!({ "namespace": "elsewhere", "vectors": [record] });
    assert_eq!(daemon.post("/upsert", &body).is(200).json()["upserted_count"], 1);
    let place = daemon.get("/describe").is(200).json()["places"][0].clone();
    assert_eq!((&place["namespaces"]["elsewhere"], &place["namespaces"]["docs"]), (&json!(1), &json!(3)));
    let short = json!({ "namespace": "elsewhere", "vectors": [{ "id": "b", "values": [1.0, 2.0] }] });
    assert_eq!(daemon.post("/upsert", &short).is(422).code(), "refused");
    let gone = json!({ "namespace": "elsewhere", "ids": ["own-1", "unknown"] });
    daemon.send("DELETE", "/delete", &gone).is(200);
    assert_eq!(
        daemon.get("/describe").json()["places"][0]["namespaces"]
            .get("elsewhere")
            .and_then(Value::as_u64)
            .unwrap_or(0),
        0
    );

    let accepted = daemon.post("/sync", &json!({})).is(202).json();
    daemon.until_ended(accepted["run"].as_str().expect("an id"));
    let found = daemon.post("/query", &json!({ "query": "where do I start?", "top_k": 2 })).is(200).json();
    assert_eq!(found["matches"][0]["metadata"]["file_path"], "guide/start.md");
    assert_eq!(found["matches"].as_array().expect("matches").len(), 2);
    let filter = json!({ "query": "start", "filter": { "file_path": { "$eq": "README.md" } } });
    assert_eq!(
        daemon.post("/query", &filter).is(200).json()["matches"].as_array().expect("matches").len(),
        1
    );
    local.assert_as_fresh();
}

#[test]
fn an_ambiguous_project_or_stage_must_be_named() {
    let local = Local::new();
    local.world.repo("api").write("a.md", "The second repository.\n").commit("first");
    local.config(&format!(
        "{STAGES}
[stages.other]
kind = \"sqlite\"
path = \"other.db\"
[projects.docs]
pipeline = [\"local\", \"prose\", \"model\", \"index\"]
repositories = [\"docs\"]
[projects.api]
pipeline = [\"local\", \"prose\", \"model\", \"other\"]
repositories = [\"api\"]
{API}"
    ));
    let mut daemon = Daemon::start(&local.world);
    daemon.until_runs(2);
    let told = daemon.post("/query", &json!({ "query": "x" })).is(400).json()["error"]["message"].clone();
    assert!(told.as_str().is_some_and(|told| told.contains("api, docs")), "{told}");
    daemon.post("/query", &json!({ "query": "x", "project": "api" })).is(200);
    let record = json!([{ "id": "a", "values": [1.0, 0.5] }]);
    daemon.post("/upsert", &json!({ "namespace": "n", "vectors": record })).is(400);
    // One embedder and one source: `project` and `stage` may be left out.
    daemon.post("/embeddings", &json!({ "texts": ["x"] })).is(200);
    daemon.get("/content?repo=api&path=a.md").is(200);
    daemon.get("/content?repo=api&path=a.md&project=docs").is(404);
    assert_eq!(daemon.get("/describe").is(200).json()["places"].as_array().expect("places").len(), 2);
    assert_eq!(daemon.get("/describe?project=api").is(200).json()["places"][0]["stage"], "other");
    // A project owns its namespace only in its own store.
    let owned = json!({ "namespace": "docs", "ids": ["x"], "stage": "index" });
    daemon.send("DELETE", "/delete", &owned).is(409);
    daemon.send("DELETE", "/delete", &json!({ "namespace": "docs", "ids": ["x"], "stage": "other" })).is(200);
}

#[test]
fn the_document_names_every_route() {
    let (_local, daemon) = Daemon::of_local();
    let document = daemon.get("/openapi.json").is(200).json();
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            assert!(
                operation["responses"].as_object().is_some_and(|responses| !responses.is_empty()),
                "{path}"
            );
            routes.push(format!("{} {path}", method.to_uppercase()));
        }
    }
    routes.sort();
    insta::assert_snapshot!(routes.join("\n"), @r"
    DELETE /delete
    GET /audit
    GET /changes
    GET /content
    GET /describe
    GET /health
    GET /metrics
    GET /openapi.json
    GET /plan
    GET /plans
    GET /plans/{id}
    GET /projects
    GET /projects/{name}/files
    GET /queue
    GET /repositories
    GET /runs
    GET /runs/{id}
    GET /runs/{id}/events
    GET /usage
    GET /verify
    POST /embeddings
    POST /plans
    POST /plans/{id}/approve
    POST /plans/{id}/discard
    POST /process
    POST /query
    POST /queue/{id}/drop
    POST /queue/{id}/retry
    POST /reload
    POST /runs/{id}/cancel
    POST /sync
    POST /upsert
    POST /webhooks/github
    ");
}

/// Values for a schema of the document, valid or not.
fn value(schema: &Value) -> BoxedStrategy<Value> {
    let odd = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([{ "id": "a", "values": [0.5, 1e38] }])),
        Just(json!("docs")),
    ];
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds[0].clone(),
        kind => kind.clone(),
    };
    let fitting = match kind.as_str() {
        Some("string") => prop_oneof![".{0,60}", Just("docs".to_owned())].prop_map(Value::from).boxed(),
        Some("integer") => (-1i64..2000).prop_map(Value::from).boxed(),
        Some("boolean") => any::<bool>().prop_map(Value::from).boxed(),
        Some("array") => {
            proptest::collection::vec(value(&schema["items"]), 0..4).prop_map(Value::from).boxed()
        }
        _ => odd.clone().boxed(),
    };
    prop_oneof![4 => fitting, 1 => odd].boxed()
}

/// A parameter: left out, taken from the configuration, or arbitrary.
fn parameter() -> impl Strategy<Value = Option<String>> {
    let known = prop_oneof!["docs|local|index|README.md|5|true", ".{0,30}"];
    proptest::option::weighted(0.5, known)
}

/// Bodies for a schema: some of its properties, sometimes an unknown one.
fn body(document: &Value, operation: &Value) -> BoxedStrategy<Value> {
    let reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str();
    let Some(name) = reference.and_then(|reference| reference.rsplit('/').next()) else {
        return Just(Value::Null).boxed();
    };
    let schema = &document["components"]["schemas"][name];
    let mut fields = Just(Vec::new()).boxed();
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let key = key.clone();
        let one = proptest::option::weighted(0.8, value(property));
        fields = (fields, one)
            .prop_map(move |(mut fields, one): (Vec<(String, Value)>, _)| {
                fields.extend(one.map(|one| (key.clone(), one)));
                fields
            })
            .boxed();
    }
    fields.prop_map(|fields| Value::Object(fields.into_iter().collect())).boxed()
}

#[test]
fn requests_made_of_the_document_find_no_fault() {
    let (_local, daemon) = Daemon::of_local();
    let document = daemon.get("/openapi.json").is(200).json();
    let mut runner = TestRunner::new(Config { cases: 24, failure_persistence: None, ..Config::default() });
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let parameters: Vec<(String, String)> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|parameter| {
                    let text = |key: &str| parameter[key].as_str().expect("text").to_owned();
                    (text("name"), text("in"))
                })
                .collect();
            let values = proptest::collection::vec(parameter(), parameters.len());
            let cases = (values, body(&document, operation));
            let checked = runner.run(&cases, |(values, body)| {
                let mut target = path.clone();
                let mut query = url::form_urlencoded::Serializer::new(String::new());
                for ((name, place), value) in parameters.iter().zip(&values) {
                    match (place.as_str(), value) {
                        ("path", value) => {
                            let value = value.as_deref().unwrap_or_default();
                            let encoded: String =
                                url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
                            target = target.replace(&format!("{{{name}}}"), &format!("x{encoded}"));
                        }
                        ("query", Some(value)) => drop(query.append_pair(name, value)),
                        _ => {}
                    }
                }
                let query = query.finish();
                let target = if query.is_empty() { target } else { format!("{target}?{query}") };
                let answer = daemon.send(&method.to_uppercase(), &target, &body);
                prop_assert!(
                    (200..500).contains(&answer.status),
                    "{method} {target} {body}: {} {}",
                    answer.head,
                    answer.body
                );
                if answer.status >= 400 {
                    prop_assert!(!answer.code().is_empty());
                }
                Ok(())
            });
            if let Err(error) = checked {
                panic!("{error}");
            }
        }
    }
    assert_eq!(daemon.get("/health").is(200).json()["status"], "healthy");
}

#[test]
fn an_event_stream_shows_a_run_as_it_goes_and_ends_with_the_daemon() {
    let local = Local::new();
    local.config(&project(API));
    let lock = reposync::state::sqlite::RunLock::take(&local.world.path(".reposync/state.db")).expect("free");
    let mut daemon = Daemon::start(&local.world);
    daemon.until("a run", |daemon| !daemon.runs().is_empty());
    let run = daemon.runs()[0]["run"].as_str().expect("an id").to_owned();
    let mut stream = daemon.connect();
    let request = format!(
        "GET /runs/{run}/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        daemon.token.as_deref().expect("a token")
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut seen = String::new();
    let mut read_until = |word: &str| {
        let mut buffer = [0; 4096];
        while !seen.contains(word) {
            let n = match stream.read(&mut buffer) {
                // A signal, such as the end of another test's program.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read.expect("in time"),
            };
            assert!(n > 0, "no {word} in {seen}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
    };
    read_until("200 OK");
    drop(lock);
    read_until("event: file_indexed");
    read_until("event: end");
    let started = Instant::now();
    daemon.stop().exits(0);
    assert!(started.elapsed().as_secs() < 30);
}

/// Files that the project does not index are not served either; redacted text is served redacted.
#[test]
fn content_is_that_of_the_selection_without_its_secrets() {
    let local = Local::new();
    let key = format!("AKIA{}", "IOSFODNN7EXAMPLQ");
    local.repo.write("guide/keys.md", format!("before\nkey: {key}\nafter\n")).write("private/a.md", "hidden");
    local.repo.write("guide/plain.txt", "plain").commit("keys");
    let selection =
        "secrets = \"redact\"\nexclude_patterns = [\"private/**\"]\nallowed_extensions = [\".md\"]";
    local.config(&format!("{}{API}", project(selection)));
    let mut daemon = Daemon::start(&local.world);
    daemon.until_runs(1);
    let keys = daemon.get("/content?repo=docs&path=guide/keys.md").is(200).json();
    let content = keys["content"].as_str().expect("text");
    assert!(content.contains("[REDACTED]") && !content.contains(&key), "{content}");
    assert_eq!(content.lines().count(), 3);
    for path in ["private/a.md", "guide/plain.txt"] {
        daemon.get(&format!("/content?repo=docs&path={path}")).is(404);
    }
    let changes = daemon.get("/changes?repo=docs").is(200).json();
    let paths: Vec<&str> =
        changes["files"].as_array().expect("files").iter().filter_map(|file| file["path"].as_str()).collect();
    assert_eq!(paths, ["README.md", "guide/end.md", "guide/keys.md", "guide/start.md"]);
}

/// The namespace of a project that was removed from the file belongs to it until it is pruned.
#[test]
fn an_orphan_keeps_its_namespace() {
    let local = Local::applied();
    let renamed = project("").replace("[projects.docs]", "[projects.manual]");
    local.config(&format!("{renamed}{API}"));
    let mut daemon = Daemon::start(&local.world);
    daemon.until_runs(1);
    let delete = json!({ "namespace": "docs", "ids": ["x"] });
    let told = daemon.send("DELETE", "/delete", &delete).is(409).json()["error"]["message"].clone();
    assert!(told.as_str().is_some_and(|told| told.contains("project `docs`")), "{told}");
}
