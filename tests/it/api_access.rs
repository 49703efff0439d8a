//! Tokens of `[api.tokens]`: what each may do, and that it sees nothing of what it may not see, on any route.

use serde_json::{Value, json};

use crate::support::daemon::{Answer, Daemon};
use crate::support::local::{Local, STAGES};

const PIPELINE: &str = "pipeline = [\"local\", \"prose\", \"model\", \"index\"]";
/// What a token for the project `docs` must never see: the other project, its repository and namespace, a
/// path, a text, and a repository of its own project that it may not see.
const HIDDEN: [&str; 6] = ["zebra", "quagga", "okapi", "stripes", "savannah", "walrus"];
const SCOPES: [&str; 5] = ["query", "read", "sync", "write", "admin"];

/// Method, path, the scope that it needs (`-`: any token, or none), and requests that it answers.
type Route = (&'static str, &'static str, &'static str, Vec<(String, Value)>);

/// Every route of the OpenAPI document.
fn routes() -> Vec<Route> {
    let get = |paths: &[&str]| paths.iter().map(|path| ((*path).to_owned(), Value::Null)).collect::<Vec<_>>();
    let send =
        |path: &str, bodies: &[Value]| bodies.iter().map(|body| (path.to_owned(), body.clone())).collect();
    vec![
        ("get", "/health", "-", get(&["/health"])),
        ("get", "/openapi.json", "-", Vec::new()),
        ("get", "/metrics", "read", get(&["/metrics"])),
        ("get", "/projects", "read", get(&["/projects"])),
        ("get", "/plan", "sync", get(&["/plan", "/plan?project=PROJECT", "/plan?exact=true"])),
        ("get", "/plans", "read", get(&["/plans", "/plans?project=PROJECT"])),
        ("post", "/plans", "sync", send("/plans", &[json!({ "project": "PROJECT" })])),
        ("get", "/plans/{id}", "read", get(&["/plans/PLAN"])),
        ("post", "/plans/{id}/approve", "sync", send("/plans/PLAN/approve", &[Value::Null])),
        ("post", "/plans/{id}/discard", "sync", send("/plans/PLAN/discard", &[Value::Null])),
        ("get", "/usage", "read", get(&["/usage", "/usage?project=PROJECT"])),
        ("get", "/queue", "read", get(&["/queue", "/queue?state=dead&project=PROJECT"])),
        ("post", "/queue/{id}/retry", "sync", send("/queue/7/retry", &[Value::Null])),
        ("post", "/queue/{id}/drop", "admin", send("/queue/7/drop", &[Value::Null])),
        ("get", "/verify", "read", get(&["/verify", "/verify?project=PROJECT"])),
        (
            "get",
            "/runs",
            "read",
            get(&["/runs", "/runs?project=PROJECT", "/runs?before=RUN", "/runs?limit=1"]),
        ),
        ("get", "/runs/{id}", "read", get(&["/runs/RUN", "/runs/ALL"])),
        ("get", "/runs/{id}/events", "read", get(&["/runs/RUN/events", "/runs/ALL/events"])),
        ("post", "/runs/{id}/cancel", "sync", send("/runs/RUN/cancel", &[json!({})])),
        (
            "get",
            "/projects/{name}/files",
            "read",
            get(&[
                "/projects/PROJECT/files?repository=REPOSITORY",
                "/projects/docs/files?repository=REPOSITORY",
            ]),
        ),
        ("post", "/sync", "sync", send("/sync", &[json!({ "project": "PROJECT" }), json!({})])),
        ("post", "/reload", "admin", send("/reload", &[json!({})])),
        ("get", "/audit", "admin", get(&["/audit", "/audit?project=PROJECT"])),
        (
            "get",
            "/repositories",
            "write",
            get(&["/repositories", "/repositories?project=PROJECT", "/repositories?org=x"]),
        ),
        (
            "get",
            "/changes",
            "write",
            get(&["/changes?repo=REPOSITORY", "/changes?repo=REPOSITORY&project=PROJECT"]),
        ),
        (
            "get",
            "/content",
            "write",
            get(&[
                "/content?repo=REPOSITORY&path=FILE",
                "/content?repo=REPOSITORY&path=FILE&project=PROJECT",
            ]),
        ),
        (
            "post",
            "/process",
            "write",
            send("/process", &[json!({ "text": "A text.", "project": "PROJECT" })]),
        ),
        (
            "post",
            "/embeddings",
            "write",
            send("/embeddings", &[json!({ "texts": ["x"], "project": "PROJECT" })]),
        ),
        (
            "post",
            "/upsert",
            "write",
            send(
                "/upsert",
                &[
                    json!({ "namespace": "NAMESPACE", "stage": "index", "vectors": [{ "id": "a", "values": [1.0] }] }),
                ],
            ),
        ),
        (
            "delete",
            "/delete",
            "write",
            send("/delete", &[json!({ "namespace": "NAMESPACE", "stage": "index", "ids": ["a"] })]),
        ),
        (
            "post",
            "/query",
            "query",
            send(
                "/query",
                &[
                    json!({ "query": "TEXT", "top_k": 50 }),
                    json!({ "query": "TEXT", "project": "PROJECT" }),
                    json!({ "query": "TEXT", "projects": ["docs", "PROJECT"] }),
                    json!({ "query": "repo:REPOSITORY TEXT", "mode": "keyword", "filter": { "repository": "REPOSITORY" } }),
                ],
            ),
        ),
        ("get", "/describe", "read", get(&["/describe", "/describe?project=PROJECT"])),
        ("post", "/webhooks/github", "-", send("/webhooks/github", &[json!({})])),
    ]
}

/// Requests of agents, which are no part of the document.
fn tools() -> Vec<Value> {
    let call = |name: &str, arguments: Value| json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": name, "arguments": arguments } });
    vec![
        call("search", json!({ "query": "TEXT" })),
        call("search", json!({ "query": "TEXT", "project": "PROJECT" })),
        call("read", json!({ "repository": "REPOSITORY", "path": "FILE" })),
        call("read", json!({ "repository": "REPOSITORY", "path": "FILE", "project": "PROJECT" })),
        call("grep", json!({ "pattern": "TEXT" })),
        call("list_projects", json!({})),
        call("status", json!({ "project": "PROJECT" })),
        call("explain", json!({ "repository": "REPOSITORY", "path": "FILE" })),
        json!({ "jsonrpc": "2.0", "id": 1, "method": "resources/read",
            "params": { "uri": "reposync://PROJECT/REPOSITORY/FILE" } }),
    ]
}

/// A daemon over two projects whose runs have ended: `docs` with the repositories `docs` and `walrus`, and `zebra`
/// with the repository `quagga` in the namespace `okapi`. With the ids of the run of `zebra` and of a request for all.
fn start() -> (Local, Daemon, String, String) {
    let local = Local::new();
    local.world.repo("quagga").write("stripes.md", "The savannah is wide.\n").commit("first");
    local.world.repo("walrus").write("ice.md", "The walrus rests.\n").commit("first");
    let mut tokens = String::from(
        "[api.tokens.whole]\ntoken = \"whole-token\"\nscopes = [\"query\", \"read\", \"sync\", \"write\", \"admin\"]\n",
    );
    for scope in SCOPES {
        let others: Vec<&str> = SCOPES.into_iter().filter(|other| *other != scope).collect();
        tokens.push_str(&format!(
            "[api.tokens.no-{scope}]\ntoken = \"token-without-{scope}\"\nscopes = {others:?}\n"
        ));
    }
    local.config(&format!(
        "{STAGES}\n[projects.docs]\n{PIPELINE}\nrepositories = [\"docs\", \"walrus\"]\n\
         [projects.zebra]\n{PIPELINE}\nrepositories = [\"quagga\"]\nnamespace = \"okapi\"\n\
         [api]\nlisten = \"127.0.0.1:0\"\n\
         [api.tokens.narrow]\ntoken = \"narrow-token\"\nprojects = [\"do*\"]\nrepositories = [\"docs\"]\nscopes = {SCOPES:?}\n\
         [api.tokens.slow]\ntoken = \"slow-token\"\nrequests_per_minute = 2\n{tokens}"
    ));
    let mut daemon = Daemon::start(&local.world);
    daemon.until_runs_of("docs", 1);
    daemon.until_runs_of("zebra", 1);
    let zebra = daemon.runs_of("zebra")[0]["run"].as_str().expect("an id").to_owned();
    let all = daemon.post("/sync", &json!({})).is(202).json()["run"].as_str().expect("an id").to_owned();
    daemon.until_runs_of("docs", 2);
    daemon.until_runs_of("zebra", 2);
    daemon.until_ended(&all);
    (local, daemon, zebra, all)
}

fn ask(daemon: &Daemon, token: &str, method: &str, path: &str, body: &Value) -> Answer {
    let authorization = format!("Bearer {token}");
    let headers = [
        ("Authorization", authorization.as_str()),
        ("Content-Type", "application/json"),
        ("Accept", "application/json, text/event-stream"),
    ];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    daemon.request(&method.to_uppercase(), path, &headers, body.as_bytes())
}

#[test]
fn a_narrow_token_sees_nothing_of_other_projects_on_any_route() {
    let (_local, daemon, zebra, all) = start();
    let routes = routes();
    let document = daemon.get("/openapi.json").is(200).json();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys() {
            let known = routes.iter().any(|(m, p, ..)| m == method && p == path);
            assert!(
                known,
                "{method} {path}: which scope does it need, and what does it show to a narrow token?"
            );
        }
    }
    let made = ask(&daemon, "whole-token", "post", "/plans", &json!({ "project": "zebra" })).is(201).json();
    let plan = made["id"].as_str().expect("an id");
    let fill = |text: &str, values: [&str; 7]| {
        let names = ["PROJECT", "REPOSITORY", "NAMESPACE", "FILE", "TEXT", "RUN", "PLAN"];
        let filled =
            names.iter().zip(values).fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
        filled.replace("ALL", &all)
    };
    let hidden = ["zebra", "quagga", "okapi", "stripes.md", "savannah", &zebra, plan];
    let id = "19990101T000000000-00000000";
    let unknown = ["nothing", "nowhere", "nobody", "none.md", "savannah", id, id];
    let mut requests: Vec<(&str, String, Value)> = Vec::new();
    for (method, _, _, asked) in &routes {
        requests.extend(asked.iter().map(|(path, body)| (*method, path.clone(), body.clone())));
    }
    requests.extend(tools().into_iter().map(|body| ("post", "/mcp".to_owned(), body)));
    for (method, path, body) in &requests {
        let with = |values: [&str; 7]| {
            let body: Value = serde_json::from_str(&fill(&body.to_string(), values)).expect("JSON");
            ask(&daemon, "narrow-token", method, &fill(path, values), &body)
        };
        let mut answer = with(hidden);
        // What was asked for may be repeated, as it is for names that do not exist. An id of a run has the name of its
        // project.
        let named = format!("{path} {body}");
        let is_named = ["PROJECT", "REPOSITORY", "FILE", "NAMESPACE", "RUN", "PLAN"]
            .iter()
            .any(|name| named.contains(name));
        // A namespace in use is refused to writers, whoever uses it.
        let is_in_use = path == "/upsert" || path == "/delete";
        if is_in_use {
            assert_eq!(answer.status, 409, "{method} {path}: {}", answer.body);
        } else if is_named {
            let mut other = with(unknown);
            assert_eq!(
                answer.status, other.status,
                "{method} {path} {body}: {}\n{}",
                answer.body, other.body
            );
            for (one, another) in hidden.iter().zip(unknown) {
                answer.body = answer.body.replace(one, "-");
                other.body = other.body.replace(another, "-");
            }
            if answer.status >= 400 {
                assert_eq!(answer.body, other.body, "{method} {path} {body}");
            }
        }
        for word in HIDDEN {
            let shown = answer.body.to_lowercase();
            assert!(!shown.contains(word), "{method} {path} {body}: shows {word}: {}", answer.body);
        }
    }
    // It does see its own part, and a token for all sees everything.
    let projects = ask(&daemon, "narrow-token", "get", "/projects", &Value::Null).is(200).json();
    let [docs] = projects["projects"].as_array().expect("projects").as_slice() else { panic!("{projects}") };
    assert_eq!((&docs["project"], &docs["files"]), (&json!("docs"), &json!(3)));
    let query = json!({ "query": "where do I start?", "project": "docs" });
    let found = ask(&daemon, "narrow-token", "post", "/query", &query).is(200).body;
    assert!(found.contains("guide/start.md"), "{found}");
    let metrics = ask(&daemon, "narrow-token", "get", "/metrics", &Value::Null).is(200).body;
    assert!(
        metrics.contains("reposync_project_vectors{project=\"docs\"}") && metrics.contains("# EOF"),
        "{metrics}"
    );
    let runs = ask(&daemon, "narrow-token", "get", "/runs", &Value::Null).is(200).json();
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(daemon.runs_of("docs").len()), "{runs}");
    let seen = ask(&daemon, "whole-token", "get", "/projects", &Value::Null).is(200).body;
    assert!(seen.contains("zebra") && seen.contains("quagga") && seen.contains("walrus"), "{seen}");
}

#[test]
fn each_route_needs_its_scope_and_says_so() {
    let (_local, daemon, _, all) = start();
    for (method, path, scope, asked) in routes() {
        let Some((request, body)) = asked.first().filter(|_| scope != "-") else { continue };
        let (request, body) = (request.replace("ALL", &all), body.to_string().replace("PROJECT", "docs"));
        let body: Value = serde_json::from_str(&body).expect("JSON");
        let refused = ask(&daemon, &format!("token-without-{scope}"), method, &request, &body).is(403);
        assert_eq!(refused.code(), "forbidden");
        assert!(refused.body.contains(&format!("`{scope}`")), "{method} {path}: {}", refused.body);
        let accepted = ask(&daemon, "whole-token", method, &request, &body);
        assert!(accepted.status != 403, "{method} {path}: {}", accepted.body);
    }
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" });
    ask(&daemon, "token-without-query", "post", "/mcp", &call).is(403);
    ask(&daemon, "token-without-read", "post", "/mcp", &call).is(200);
    // The guards are passed by administrators alone.
    for guard in ["allow_deletes", "allow_cost"] {
        let body = json!({ "project": "docs", guard: true });
        let refused = ask(&daemon, "token-without-admin", "post", "/sync", &body).is(403);
        assert!(refused.body.contains("`admin`"), "{}", refused.body);
        ask(&daemon, "whole-token", "post", "/sync", &body).is(202);
    }
    // An administrator of a part does not reload the whole.
    ask(&daemon, "narrow-token", "post", "/reload", &Value::Null).is(403);
    // What was embedded before is shown to administrators alone.
    let texts = json!({ "texts": ["x"], "project": "docs" });
    let told = ask(&daemon, "whole-token", "post", "/embeddings", &texts).is(200).json();
    assert!(told["cached"].is_u64() && told["tokens"].is_u64(), "{told}");
    let told = ask(&daemon, "token-without-admin", "post", "/embeddings", &texts).is(200).json();
    assert!(told["cached"].is_null() && told["tokens"].is_null() && told["embeddings"].is_array(), "{told}");
}

#[test]
fn a_rate_is_kept_and_an_edit_changes_tokens_at_once() {
    let (local, daemon, ..) = start();
    let projects = |token: &str| ask(&daemon, token, "get", "/projects", &Value::Null);
    projects("slow-token").is(200);
    projects("slow-token").is(200);
    let limited = projects("slow-token").is(429);
    assert_eq!(limited.code(), "rate_limited");
    assert!(limited.head.to_lowercase().contains("retry-after: "), "{}", limited.head);
    projects("whole-token").is(200);
    let text = local.world.read("reposync.toml");
    local.config(
        &text
            .replace("\"narrow-token\"", "\"replaced-token\"")
            .replace("projects = [\"do*\"]", "projects = [\"zebra\"]"),
    );
    local.world.ok(&["reload"]);
    projects("narrow-token").is(401);
    let shown = projects("replaced-token").is(200).json();
    assert_eq!(shown["projects"].as_array().map(Vec::len), Some(1), "{shown}");
    assert_eq!(shown["projects"][0]["project"], "zebra");
    // A token of the file is for any client; the daemon's own stays for this machine.
    for (token, status) in [("whole-token", 200), (daemon.token.as_deref().expect("its own"), 403)] {
        let authorization = format!("Bearer {token}");
        let headers = [("Authorization", authorization.as_str()), ("Origin", "https://example.com")];
        daemon.request("GET", "/projects", &headers, b"").is(status);
    }
    let said = daemon.stop().stderr;
    assert!(!said.contains("whole-token") && !said.contains("replaced-token"), "{said}");
}

#[test]
fn the_audit_log_says_who_asked_for_what() {
    let (local, mut daemon, ..) = start();
    ask(&daemon, "whole-token", "post", "/sync", &json!({ "project": "docs" })).is(202);
    ask(&daemon, "narrow-token", "post", "/sync", &json!({ "project": "docs" })).is(202);
    ask(&daemon, "wrong", "get", "/projects", &Value::Null).is(401);
    local.world.ok(&["reload"]);
    let entries = |daemon: &Daemon, path: &str| -> Vec<String> {
        let audit = ask(daemon, "whole-token", "get", path, &Value::Null).is(200).json();
        let entries = audit["entries"].as_array().expect("entries").iter();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        entries
            .map(|one| format!("{} {} {}", text(&one["who"]), text(&one["what"]), text(&one["outcome"])))
            .collect()
    };
    daemon.until("the entries", |daemon| entries(daemon, "/audit").len() >= 5);
    let all = entries(&daemon, "/audit");
    let expected = [
        "local POST /reload 200",
        "unknown GET /projects 401",
        "narrow POST /sync 202",
        "whole POST /sync 202",
    ];
    assert_eq!(all[..4], expected, "{all:?}");
    assert_eq!(entries(&daemon, "/audit?project=docs"), ["narrow POST /sync 202", "whole POST /sync 202"]);
    let page = ask(&daemon, "whole-token", "get", "/audit?limit=1", &Value::Null).is(200).json();
    let next = format!("/audit?limit=1&before={}", page["next"]);
    assert_eq!(entries(&daemon, &next), [expected[1]]);
    let narrow = ask(&daemon, "narrow-token", "get", "/audit", &Value::Null).is(200).json();
    assert_eq!(narrow["entries"].as_array().map(Vec::len), Some(2), "{narrow}");
    ask(&daemon, "whole-token", "get", "/audit?limit=0", &Value::Null).is(400);
    ask(&daemon, "whole-token", "get", "/audit?since=yesterday", &Value::Null).is(400);
    daemon.stop().exits(0);
    local.world.ok(&["apply", "--project", "docs"]);
    let printed = local.world.ok(&["audit", "--json", "--since", "1h"]).json();
    let newest = &printed[0];
    assert_eq!((&newest["what"], &newest["outcome"]), (&json!("apply"), &json!("done")), "{printed}");
    assert!(newest["who"].as_str().is_some_and(|who| who.starts_with("user:")), "{printed}");
    assert_eq!(newest["projects"], json!(["docs"]));
    let text = local.world.ok(&["audit", "--project", "docs", "--limit", "2"]).stdout;
    assert!(text.contains("apply") && text.contains("narrow") && text.lines().count() == 3, "{text}");
}
