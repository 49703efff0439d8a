//! Spans exported to a collector and written to the log: every line of a run names its run, project and
//! repository.

use std::collections::HashMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::Value;

use crate::support::daemon::{API, Daemon};
use crate::support::http::{Response, Server};
use crate::support::local::{Local, project};

/// A span collector.
fn collector() -> Server {
    Server::start(|_| Response::status(200))
}

/// The local project in a world with more environment variables.
fn local(environment: &[(&str, &str)], more: &str) -> Local {
    let mut local = Local::new();
    for (name, value) in environment {
        local = Local { world: local.world.env(name, value), ..local };
    }
    local.config(&project(more));
    local
}

fn text(attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Any::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

#[test]
fn a_collector_gets_run_project_and_repository() {
    let server = collector();
    let local = local(
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &server.url()),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test"),
        ],
        "",
    );
    local.world.ok(&["apply"]);
    let requests = server.requests();
    assert!(!requests.is_empty(), "nothing was exported");
    let mut spans: HashMap<String, Span> = HashMap::new();
    for exchange in &requests {
        let request = &exchange.request;
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/traces"));
        assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
        assert_eq!(request.header("x-key"), Some("secret"));
        let sent = ExportTraceServiceRequest::decode(request.body.as_slice()).expect("OTLP");
        for resource in sent.resource_spans {
            let attributes = resource.resource.expect("a resource").attributes;
            assert_eq!(text(&attributes, "service.name").as_deref(), Some("reposync"));
            assert_eq!(text(&attributes, "deployment.environment").as_deref(), Some("test"));
            let all = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.extend(all.map(|span| (span.name.clone(), span)));
        }
    }
    let [run, project, repository] = ["run", "project", "repository"].map(|name| &spans[name]);
    assert_eq!(text(&run.attributes, "trigger").as_deref(), Some("apply"));
    let history = local.world.ok(&["history", "--json"]).json();
    assert_eq!(text(&run.attributes, "run").as_deref(), history[0]["report"]["run"].as_str());
    assert_eq!(text(&project.attributes, "project").as_deref(), Some("docs"));
    assert_eq!(text(&repository.attributes, "repository").as_deref(), Some("docs"));
    assert_eq!((&project.parent_span_id, &repository.parent_span_id), (&run.span_id, &project.span_id));
    assert_eq!(run.trace_id, repository.trace_id);
}

#[test]
fn spans_are_exported_on_request_and_a_dead_collector_delays_nothing() {
    let server = collector();
    for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
        let local = local(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &server.url()), off], "");
        local.world.ok(&["apply"]);
    }
    assert!(server.requests().is_empty());
    let dead = server.url();
    drop(server);
    let local = local(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &dead)], "");
    let ran = local.world.ok(&["apply"]);
    assert_eq!(ran.stderr.matches("cannot export spans").count(), 1, "{}", ran.stderr);
}

#[test]
fn an_invalid_address_is_reported_without_its_value() {
    for (name, address) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:hunter2@[collector"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4318/?key=hunter2 x"),
    ] {
        let local = local(&[(name, address)], "");
        let ran = local.world.run(&["apply"]).exits(1);
        assert!(ran.stderr.contains(&format!("cannot export spans: `{name}` is invalid")), "{}", ran.stderr);
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    }
}

#[test]
fn every_log_line_of_a_run_says_which() {
    let local = Local::new();
    local.repo.write("bad.md", "A text.\n".repeat(3)).commit("second");
    local.config(&format!("[engine]\nlog_dir = \"logs\"\n{}", project(API)));
    let mut daemon = Daemon::start(&local.world);
    daemon.until_runs(1);
    let run = daemon.runs()[0]["run"].as_str().expect("an id").to_owned();
    daemon.stop().exits(0);
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(local.world.path("logs")).expect("a folder") {
        let path = entry.expect("an entry").path();
        // The folder also contains the `.gitignore` and `CACHEDIR.TAG` of a new state folder.
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        let text = std::fs::read_to_string(path).expect("text");
        lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")));
    }
    let line = |message: &str| {
        lines.iter().find(|line| line["fields"]["message"] == message).unwrap_or_else(|| panic!("{lines:?}"))
    };
    let differs = line("repository differs");
    let span = |name: &str| {
        let spans = differs["spans"].as_array().expect("spans");
        spans.iter().find(|span| span["name"] == name).unwrap_or_else(|| panic!("{differs}"))
    };
    assert_eq!(span("run")["run"], run.as_str());
    assert_eq!(span("project")["project"], "docs");
    assert_eq!(span("repository")["repository"], "docs");
    assert_eq!(line("run ended")["fields"]["run"], run.as_str());
}
