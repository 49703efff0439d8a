//! Every route is there with and without its version.

use serde_json::json;

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
