//! The Pinecone client against a fake of the service: the contract, the limits, every fault.

use std::sync::Arc;
use std::time::Duration;

use reposync::model::{ErrorKind, EventSink, Record, StageError, StageResult, Vector};
use reposync::net::{RetryPolicy, Timeouts};
use reposync::store::pinecone::{PineconeSettings, PineconeStore};
use reposync::store::{Query, VectorStore};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::store_contract::{keeps_its_promises, record};
use crate::support::http::{Fault, Response};
use crate::support::pinecone::{KEY, Pinecone};

fn client(settings: &PineconeSettings) -> PineconeStore {
    let retry = RetryPolicy {
        tries: 3,
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(2),
    };
    PineconeStore::new("vectors", settings, 4, CancellationToken::new(), EventSink::none())
        .expect("a client")
        .with_timeouts(Timeouts { retry, answer: Duration::from_secs(20) })
}

fn shown(error: &StageError) -> String {
    assert!(!format!("{error:?}").contains(KEY), "the key is in an error");
    let hint = error.hint.as_deref().unwrap_or("no hint");
    let text = format!("{}\nhint: {hint}", error.one_line());
    // The port differs between runs.
    let Some(at) = text.find("127.0.0.1:") else { return text };
    let digits = text[at + 10..].chars().take_while(char::is_ascii_digit).count();
    format!("{}HOST{}", &text[..at], &text[at + 10 + digits..])
}

#[tokio::test]
async fn keeps_the_promises_of_a_store() {
    let pinecone = Pinecone::start(Some(3));
    keeps_its_promises(Arc::new(client(&pinecone.settings()))).await;
    let described =
        pinecone.server.requests().iter().filter(|request| request.path.starts_with("/indexes")).count();
    assert_eq!(described, 1, "the control plane is asked once");
}

#[tokio::test]
async fn keeps_the_promises_with_the_host_configured() {
    let pinecone = Pinecone::start(Some(3));
    let settings = PineconeSettings { host: Some(pinecone.host()), ..pinecone.settings() };
    keeps_its_promises(Arc::new(client(&settings))).await;
    let asked = pinecone.server.requests();
    assert!(
        asked.iter().all(|request| !request.path.starts_with("/indexes")),
        "the control plane is not asked"
    );
}

#[tokio::test]
async fn the_place_is_the_same_with_and_without_a_configured_host() {
    let pinecone = Pinecone::start(Some(3));
    let named = PineconeSettings { host: Some(pinecone.host()), ..pinecone.settings() };
    let place = client(&pinecone.settings()).place("n").await.expect("place");
    assert_eq!(client(&named).place("n").await.expect("place"), place);
    let shown = format!("pinecone:{}/docs#n", pinecone.host().trim_start_matches("http://"));
    assert_eq!(place.to_string(), shown);
}

/// One call of each operation, and whether its result was right.
async fn every_operation(store: &PineconeStore, operation: &str) -> StageResult<()> {
    let query = Query { vector: Vector::from([1.0, 0.0, 0.0]), top_k: 1, filter: None };
    let ids = ["a".to_owned()];
    match operation {
        "describe" => store.check(3).await,
        "upsert" => store.upsert("n", &[record("b", &[0.0, 1.0, 0.0], 2)]).await,
        "delete" => store.delete("n", &ids).await,
        "list" => store.list("n", "", None).await.map(|page| assert!(page.ids.contains(&"a".into()))),
        "fetch" => store.fetch("n", &ids).await.map(|records| assert_eq!(records.len(), 1)),
        "query" => store.query("n", &query).await.map(|matches| assert_eq!(matches[0].id, "a")),
        "stats" => store.describe().await.map(|described| assert_eq!(described.namespaces["n"], 1)),
        other => unreachable!("{other}"),
    }
}

const OPERATIONS: [(&str, &str); 7] = [
    ("describe", "/indexes/docs"),
    ("upsert", "/vectors/upsert"),
    ("delete", "/vectors/delete"),
    ("list", "/vectors/list"),
    ("fetch", "/vectors/fetch"),
    ("query", "/query"),
    ("stats", "/describe_index_stats"),
];

async fn with_one_record() -> (Pinecone, PineconeStore) {
    let pinecone = Pinecone::start(Some(3));
    let store = client(&pinecone.settings());
    store.upsert("n", &[record("a", &[1.0, 0.0, 0.0], 1)]).await.expect("upsert");
    let store = client(&pinecone.settings());
    pinecone.server.take_requests();
    (pinecone, store)
}

#[tokio::test]
async fn transient_faults_are_survived() {
    for (operation, path) in OPERATIONS {
        for (name, fault) in [
            ("429", Fault::status(429)),
            ("429 with a wait", Fault::status(429).with("retry-after", "0")),
            ("408", Fault::status(408)),
            ("500", Fault::status(500)),
            ("503 with a wait", Fault::status(503).with("retry-after", "0")),
            ("reset", Fault::Reset),
            ("truncated", Fault::Truncated),
            ("a page", Fault::html()),
            ("answer lost", Fault::AnswerLost),
        ] {
            let (pinecone, store) = with_one_record().await;
            pinecone.server.fail(path, fault.clone());
            pinecone.server.fail(path, fault);
            let result = every_operation(&store, operation).await;
            assert!(result.is_ok(), "{operation}, {name}: {result:?}");
            assert_eq!(pinecone.server.faults_left(), 0, "{operation}, {name}");
            let wanted: &[&str] = match operation {
                "upsert" => &["a", "b"],
                "delete" => &[],
                _ => &["a"],
            };
            assert_eq!(pinecone.ids("n"), wanted, "{operation}, {name}");
        }
    }
}

#[tokio::test]
async fn a_permanent_fault_is_an_error_of_its_kind() {
    for (operation, path) in OPERATIONS {
        let (pinecone, store) = with_one_record().await;
        for _ in 0..3 {
            pinecone.server.fail(path, Fault::status(503));
        }
        let error = every_operation(&store, operation).await.expect_err("three of three tries");
        assert!(matches!(error.kind, ErrorKind::Transient { .. }), "{operation}: {error:?}");
        assert!(error.message.contains("503"), "{error}");
        assert!(every_operation(&store, operation).await.is_ok(), "{operation}: the next run");
    }
}

#[tokio::test]
async fn a_service_that_hangs_is_given_up() {
    let (pinecone, store) = with_one_record().await;
    let pause = Duration::from_millis(1);
    let retry = RetryPolicy { tries: 2, first_pause: pause, longest_pause: pause };
    let impatient = store.with_timeouts(Timeouts { retry, answer: Duration::from_millis(200) });
    pinecone.server.fail("/vectors/list", Fault::Hang);
    assert!(every_operation(&impatient, "list").await.is_ok());
}

#[tokio::test]
async fn an_interrupt_ends_a_call_that_hangs() {
    let pinecone = Pinecone::start(Some(3));
    let cancel = CancellationToken::new();
    let store = PineconeStore::new("vectors", &pinecone.settings(), 4, cancel.clone(), EventSink::none())
        .expect("a client");
    pinecone.server.fail("/indexes", Fault::Hang);
    let (result, ()) = tokio::join!(store.check(3), async {
        while pinecone.server.requests().is_empty() {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    });
    assert_eq!(result.expect_err("interrupted").kind, ErrorKind::Cancelled);
}

#[tokio::test]
async fn a_wait_too_long_is_an_end() {
    let (pinecone, store) = with_one_record().await;
    pinecone.server.fail("/query", Fault::status(429).with("retry-after", "86400"));
    let error = every_operation(&store, "query").await.expect_err("a day");
    assert!(error.message.contains("86400 s"), "{error}");
}

/// The error of `check(3)`, which must be permanent and cost at most `requests`.
async fn refusal(pinecone: &Pinecone, settings: &PineconeSettings, requests: usize) -> String {
    let error = client(settings).check(3).await.expect_err("refused");
    assert_eq!(error.kind, ErrorKind::Misconfigured, "{error:?}");
    let asked = pinecone.server.take_requests();
    assert!(asked.len() <= requests, "{asked:?}");
    shown(&error)
}

#[tokio::test]
async fn permanent_errors_say_what_to_do() {
    let pinecone = Pinecone::start(Some(3));
    let wrong_key =
        PineconeSettings { api_key: reposync::model::Secret::new("pcsk_wrong"), ..pinecone.settings() };
    insta::assert_snapshot!(refusal(&pinecone, &wrong_key, 1).await, @"
    HOST answers 401: Invalid API Key
    hint: check the stage's `api_key`
    ");
    let direct = PineconeSettings { host: Some(pinecone.host()), ..wrong_key };
    insta::assert_snapshot!(refusal(&pinecone, &direct, 1).await, @"
    HOST answers 401: Unauthorized
    hint: check the stage's `api_key`
    ");

    let elsewhere = PineconeSettings { index: "other".into(), ..pinecone.settings() };
    insta::assert_snapshot!(refusal(&pinecone, &elsewhere, 1).await, @r#"
    there is no index `other`
    hint: create a serverless index of dimension 3, or let RepoSync do it: create = { cloud = "aws", region = "us-east-1", metric = "cosine" }
    "#);

    pinecone.state().dimension = Some(1536);
    insta::assert_snapshot!(refusal(&pinecone, &pinecone.settings(), 1).await, @"
    the index `docs` takes vectors of 1536 components, the embedder makes 3
    hint: set the embedder's `dimensions` to 1536, or name another `index` of dimension 3
    ");

    pinecone.state().dimension = Some(3);
    pinecone.state().metric = "euclidean".into();
    insta::assert_snapshot!(refusal(&pinecone, &pinecone.creating(), 1).await, @"
    the index `docs` compares by `euclidean`, not as `create` says
    hint: set another `index`, or create one that fits
    ");

    pinecone.state().vector_type = "sparse".into();
    insta::assert_snapshot!(refusal(&pinecone, &pinecone.settings(), 1).await, @"
    the index `docs` holds sparse vectors
    hint: set another `index`, or create one that fits
    ");

    pinecone.state().dimension = None;
    pinecone.state().quota_used_up = true;
    insta::assert_snapshot!(refusal(&pinecone, &pinecone.creating(), 2).await, @"
    HOST answers 429: The index exceeds the project quota of 5 indexes.
    hint: raise the quota of the Pinecone project, or remove indexes from it
    ");
    let direct = PineconeSettings { host: Some(pinecone.host()), ..pinecone.settings() };
    insta::assert_snapshot!(refusal(&pinecone, &direct, 1).await, @"
    HOST answers 404 Not Found
    hint: check `api_url` and `host`: something else answers there
    ");

    let redirect = Response::text(301, "").with("location", "https://elsewhere.example/");
    pinecone.server.fail("/indexes", Fault::Answer(redirect));
    insta::assert_snapshot!(refusal(&pinecone, &pinecone.settings(), 1).await, @"
    HOST answers 301 Moved Permanently
    hint: check `api_url` and `host`: something else answers there
    ");
}

#[tokio::test]
async fn a_missing_index_is_created_and_waited_for() {
    for created_by_another in [false, true] {
        let pinecone = Pinecone::start(None);
        pinecone.state().not_ready = 2; // the answer to the creation is the first of them
        pinecone.state().created_by_another = created_by_another;
        let store = client(&pinecone.creating());
        let place = store.place("n").await.expect("a place to be");
        assert_eq!(format!("http://{}", place.host), pinecone.server.url(), "nothing is there yet");
        assert!(!store.peek(3).await.expect("a look"), "a look creates nothing");
        store.check(3).await.expect("created");
        assert!(store.peek(3).await.expect("a look"));
        assert_ne!(store.place("n").await.expect("a place").host, place.host);
        let created = pinecone.server.requests().iter().filter(|request| request.method == "POST").count();
        assert_eq!(created, 1);
        store.upsert("n", &[record("a", &[1.0, 0.0, 0.0], 1)]).await.expect("upsert");
    }
}

fn wide(count: usize) -> Vec<Record> {
    let mut records = Vec::with_capacity(count);
    for n in 0..count {
        let mut one = record(&format!("w-{n:04}"), &[], 1);
        one.vector = (0..1536u32).map(|i| ((i + 1) as f32 * 0.618 + n as f32).sin() / 39.0).collect();
        records.push(one);
    }
    records
}

#[tokio::test]
async fn upserts_are_filled_by_bytes() {
    let pinecone = Pinecone::start(Some(1536));
    let store = client(&pinecone.settings());
    store.upsert("n", &wide(300)).await.expect("upsert");
    assert_eq!(pinecone.ids("n").len(), 300);
    let bodies: Vec<usize> = pinecone
        .server
        .requests()
        .iter()
        .filter(|request| request.path.ends_with("upsert"))
        .map(|request| request.body.len())
        .collect();
    let total: usize = bodies.iter().sum();
    assert_eq!(bodies.len(), total.div_ceil(2_000_000), "as few as can be: {bodies:?}");
}

#[tokio::test]
async fn upserts_too_large_are_halved() {
    let pinecone = Pinecone::start(Some(1536));
    pinecone.state().most_bytes = 300_000;
    let store = client(&pinecone.settings());
    store.upsert("n", &wide(120)).await.expect("upsert");
    assert_eq!(pinecone.ids("n").len(), 120);
    assert_eq!(pinecone.state().upserted.iter().sum::<usize>(), 120, "nothing is sent twice");
    // The learned limit is kept.
    pinecone.server.take_requests();
    store.upsert("n", &wide(30)).await.expect("upsert");
    assert!(pinecone.server.take_requests().iter().all(|request| request.body.len() <= 300_000));

    pinecone.state().most_bytes = 1000;
    let error = store.upsert("n", &wide(2)).await.expect_err("a record larger than a request");
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.message.contains("`w-0000`"), "{error}");
}

#[tokio::test]
async fn counts_are_within_the_limits() {
    let pinecone = Pinecone::start(Some(3));
    let store = client(&pinecone.settings());
    let records: Vec<Record> =
        (0..2100u32).map(|n| record(&format!("{:x<480}-{n}", "long"), &[1.0, 0.5, n as f32], n)).collect();
    let ids: Vec<String> = records.iter().map(|record| record.id.clone()).collect();
    store.upsert("n", &records).await.expect("upsert");
    assert_eq!(store.fetch("n", &ids[..50]).await.expect("fetch").len(), 50, "long ids make short pages");
    store.delete("n", &ids).await.expect("delete");
    let mut deleted = pinecone.state().deleted.clone();
    deleted.sort_unstable();
    assert_eq!(deleted, [100, 1000, 1000]);
    assert!(pinecone.ids("n").is_empty());
    let all = Query { vector: Vector::from([1.0, 0.0, 0.0]), top_k: 99_999, filter: Some(json!({})) };
    assert!(store.query("n", &all).await.expect("query").is_empty());
}

#[tokio::test]
async fn the_default_namespace_has_two_names() {
    let pinecone = Pinecone::start(Some(3));
    let store = client(&pinecone.settings());
    store.upsert("", &[record("a", &[1.0, 0.0, 0.0], 1)]).await.expect("upsert");
    assert_eq!(store.list("__default__", "", None).await.expect("list").ids, ["a"]);
    assert_eq!(store.describe().await.expect("describe").namespaces["__default__"], 1);
}

#[tokio::test]
async fn names_the_service_does_not_take_are_refused_before_a_request() {
    let pinecone = Pinecone::start(Some(3));
    let store = client(&pinecone.settings());
    let error = store.place("größe").await.expect_err("not ASCII");
    assert_eq!(error.kind, ErrorKind::Misconfigured);
    insta::assert_snapshot!(shown(&error), @"
    Pinecone takes no namespace `größe`: only ASCII, at most 512 characters
    hint: set the project's `namespace`
    ");
    assert!(pinecone.server.requests().is_empty());

    let mut heavy = record("a", &[1.0, 0.0, 0.0], 1);
    Arc::make_mut(&mut heavy.metadata).text = "x".repeat(50_000);
    let error = store.upsert("n", &[heavy]).await.expect_err("too much metadata");
    assert_eq!(error.kind, ErrorKind::Refused);
}

#[tokio::test]
async fn a_record_the_service_refuses_is_no_retry() {
    let (pinecone, store) = with_one_record().await;
    let error = store.upsert("n", &[record("z", &[0.0, 0.0, 0.0], 1)]).await.expect_err("zero");
    assert_eq!(error.kind, ErrorKind::Refused);
    insta::assert_snapshot!(shown(&error), @"
    HOST answers 400: Dense vectors must contain at least one non-zero value
    hint: no hint
    ");
    let upserts =
        pinecone.server.requests().iter().filter(|request| request.path.ends_with("upsert")).count();
    assert_eq!(upserts, 1);
}

#[tokio::test]
async fn distances_are_turned_round() {
    let pinecone = Pinecone::start(Some(3));
    pinecone.state().metric = "euclidean".into();
    let store = client(&pinecone.settings());
    let records = [record("near", &[1.0, 0.0, 0.0], 1), record("far", &[0.0, 5.0, 0.0], 2)];
    store.upsert("n", &records).await.expect("upsert");
    let query = Query { vector: Vector::from([1.0, 0.1, 0.0]), top_k: 2, filter: None };
    let matches = store.query("n", &query).await.expect("query");
    assert_eq!(matches[0].id, "near");
    assert!(matches[0].score > matches[1].score);
}

#[tokio::test]
async fn reads_may_lag_behind_writes() {
    let pinecone = Pinecone::start(Some(3));
    let store = client(&pinecone.settings());
    pinecone.state().lag = 2;
    store.upsert("n", &[record("a", &[1.0, 0.0, 0.0], 1)]).await.expect("upsert");
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(store.list("n", "", None).await.expect("list").ids.len());
    }
    assert_eq!(seen, [0, 0, 1, 1]);
}

#[tokio::test]
async fn calls_are_reported_and_the_key_stays_where_it_belongs() {
    let pinecone = Pinecone::start(Some(3));
    let events = Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = {
        let events = Arc::clone(&events);
        EventSink::new(move |event| events.lock().expect("no panic").push(serde_json::json!(event)))
    };
    let store = PineconeStore::new("vectors", &pinecone.settings(), 4, CancellationToken::new(), sink)
        .expect("a client");
    pinecone.server.fail("/vectors/list", Fault::status(429).with("retry-after", "0"));
    store.list("n", "", None).await.expect("list");
    let events = events.lock().expect("no panic").clone();
    let calls: Vec<_> = events
        .iter()
        .filter(|event| event["event"] == "call")
        .map(|event| (event["operation"].clone(), event["ok"].clone(), event["error"].clone()))
        .collect();
    let expected = [
        ("describe_index", true, json!(null)),
        ("list", false, json!("rate_limit")),
        ("list", true, json!(null)),
    ];
    assert_eq!(calls, expected.map(|(operation, ok, error)| (json!(operation), json!(ok), error)));
    assert!(events.iter().any(|event| event["event"] == "waiting"));
    assert!(!json!(events).to_string().contains(KEY));
    assert!(!format!("{store:?}").contains(KEY));
    for request in pinecone.server.requests() {
        assert_eq!(request.header("api-key"), Some(KEY));
        assert!(!format!("{}?{:?}", request.path, request.query).contains(KEY));
    }
}
