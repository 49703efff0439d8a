//! Every route is there with and without its version, and answers in the form that the document describes.

use serde_json::{Value, json};

use crate::support::daemon::Daemon;

/// Routes without a version: they are asked by others than clients of the API.
const UNVERSIONED: [&str; 4] = ["/health", "/metrics", "/openapi.json", "/webhooks/github"];

#[test]
fn a_version_may_stand_before_every_route() {
    let (_local, mut daemon) = Daemon::of_local();
    let document = daemon.get("/openapi.json").is(200).json();
    assert_eq!(document["servers"][1]["url"], "/v1");
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            let method = method.to_uppercase();
            let path = path.replace("{id}", "unknown").replace("{name}", "docs");
            let versioned = daemon.send(&method, &format!("/v1{path}"), &json!({ "odd": 1 }));
            if UNVERSIONED.contains(&path.as_str()) {
                assert_eq!(versioned.is(404).code(), "not_found", "{method} {path}");
                continue;
            }
            let plain = daemon.send(&method, &path, &json!({ "odd": 1 }));
            assert_eq!(versioned.status, plain.status, "{method} {path}: {}", versioned.body);
            if plain.status >= 400 {
                assert_eq!(versioned.body, plain.body, "{method} {path}");
            }
        }
    }
    assert_eq!(daemon.get("/v1/nothing").is(404).code(), "not_found");
    assert_eq!(daemon.send("DELETE", "/v1/runs", &json!({})).is(405).code(), "method_not_allowed");
    let run = daemon.post("/v1/sync", &json!({ "project": "docs" })).is(202).json();
    daemon.until_ended(run["run"].as_str().expect("an id"));
    // Reading is no entry of the audit log under either path.
    daemon.post("/v1/query", &json!({ "query": "where do I start?", "project": "docs" })).is(200);
    let audit = daemon.get("/v1/audit").is(200).json();
    let asked: Vec<&str> =
        audit["entries"].as_array().expect("entries").iter().filter_map(|one| one["what"].as_str()).collect();
    assert!(asked.contains(&"POST /v1/sync") && !asked.contains(&"POST /v1/query"), "{asked:?}");
}

/// Routes whose answers are no JSON, or a document of another standard.
const UNTYPED: [&str; 2] = ["/metrics", "/openapi.json"];

/// What is wrong with a value of a schema of the document.
fn faults(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut root = schema.clone();
    root["components"] = document["components"].clone();
    let validator = jsonschema::draft202012::new(&root).expect("a schema");
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn every_answer_has_the_form_that_the_document_describes() {
    let (_local, mut daemon) = Daemon::of_local();
    let document = daemon.get("/openapi.json").is(200).json();
    let answer_of = |method: &str, path: &str| {
        let responses = document["paths"][path][method]["responses"].as_object().expect("responses");
        let (_, answer) =
            responses.iter().find(|(status, _)| status.starts_with('2')).expect("a good answer");
        let content = answer["content"].as_object().and_then(|content| content.values().next()).cloned();
        content.unwrap_or_default()["schema"].clone()
    };
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            if !UNTYPED.contains(&path.as_str()) {
                let schema = answer_of(method, path);
                assert!(schema["$ref"].is_string(), "{method} {path} has no typed answer: {schema}");
            }
        }
    }
    let run = daemon.runs()[0]["run"].as_str().expect("an id").to_owned();
    let docs = json!({ "project": "docs" });
    let plan = daemon.post("/plans", &docs).is(201).json();
    let id = plan["id"].as_str().expect("an id").to_owned();
    let mut checked = vec![
        ("post", "/plans", plan),
        (
            "post",
            "/query",
            daemon.post("/query", &json!({ "query": "start", "project": "docs", "explain": true })).json(),
        ),
        ("post", "/reload", daemon.post("/reload", &json!({})).json()),
        (
            "post",
            "/plans/{id}/approve",
            daemon.post(&format!("/plans/{id}/approve"), &json!({})).is(202).json(),
        ),
        ("post", "/sync", daemon.post("/sync", &docs).is(202).json()),
    ];
    daemon.until_state("docs", "current");
    for (path, target) in [
        ("/health", "/health".to_owned()),
        ("/projects", "/projects".to_owned()),
        ("/projects/{name}/files", "/projects/docs/files?repository=docs".to_owned()),
        ("/runs", "/runs".to_owned()),
        ("/runs/{id}", format!("/runs/{run}")),
        ("/plan", "/plan".to_owned()),
        ("/plans", "/plans".to_owned()),
        ("/plans/{id}", format!("/plans/{id}")),
        ("/usage", "/usage".to_owned()),
        ("/queue", "/queue".to_owned()),
        ("/audit", "/audit".to_owned()),
        ("/verify", "/verify".to_owned()),
        ("/describe", "/describe".to_owned()),
        ("/repositories", "/repositories?project=docs".to_owned()),
        ("/changes", "/changes?repo=docs".to_owned()),
        ("/content", "/content?repo=docs&path=README.md".to_owned()),
    ] {
        checked.push(("get", path, daemon.get(&target).is(200).json()));
    }
    for (method, path, value) in &checked {
        let faults = faults(&document, &answer_of(method, path), value);
        assert!(faults.is_empty(), "{method} {path}: {}\n{value}", faults.join("\n"));
    }
    // The events of a run, one by one.
    let events = daemon.get(&format!("/runs/{run}/events")).is(200).body;
    let mut names = Vec::new();
    for event in events.split("\n\n").filter(|event| event.contains("data:")) {
        let field =
            |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
        names.push(field("event:"));
        let data: Value = serde_json::from_str(field("data:")).expect("JSON");
        let faults = faults(&document, &answer_of("get", "/runs/{id}/events"), &data);
        assert!(faults.is_empty(), "{event}: {}", faults.join("\n"));
    }
    assert!(names.contains(&"file_indexed") && names.last() == Some(&"end"), "{names:?}");
    // A form that is not described is found.
    assert!(!faults(&document, &answer_of("get", "/plans"), &json!({ "plans": [{ "id": 1 }] })).is_empty());
}
