//! Azure OpenAI, OpenAI and compatible servers: the right vectors, each text paid for once, transient
//! faults retried and permanent ones reported.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reposync::embed::azure::{AzureSettings, azure_embedder};
use reposync::embed::openai::{OpenAiSettings, openai_embedder};
use reposync::embed::{EmbedQueue, Embedder, InputType, ServiceEmbedder};
use reposync::model::{ErrorKind, Event, EventSink, Fingerprint, Secret, StageError};
use reposync::net::{RetryPolicy, Timeouts};
use tokio_util::sync::CancellationToken;

use crate::support::http::{Fault, Response};
use crate::support::local::{Local, WORK, project};
use crate::support::openai::{Encoding, FakeOpenAi, Flaw, Options, inputs};

const KEY: &str = "key-for-tests";

fn azure_settings(fake: &FakeOpenAi) -> AzureSettings {
    AzureSettings {
        endpoint: fake.url(),
        deployment: "text-embedding-3-small".into(),
        api_version: Some("2024-10-21".into()),
        api_key: Some(Secret::new(KEY)),
        bearer_token: None,
        dimensions: None,
        batch_size: 100,
        requests_per_minute: None,
        tokens_per_minute: None,
        price_per_million_tokens: Some(0.02),
    }
}

fn openai_settings(fake: &FakeOpenAi) -> OpenAiSettings {
    OpenAiSettings {
        base_url: fake.url(),
        model: "nomic".into(),
        api_key: None,
        dimensions: None,
        batch_size: 100,
        max_input_tokens: 8191,
        requests_per_minute: None,
        tokens_per_minute: None,
        document_prefix: None,
        query_prefix: None,
        input_type: None,
        price_per_million_tokens: None,
    }
}

/// A local server without a key and with unusual limits.
fn compatible() -> Options {
    Options { key: None, model: "nomic".into(), ..Options::default() }
}

fn quick(embedder: ServiceEmbedder) -> ServiceEmbedder {
    let pause = Duration::from_millis(2);
    let retry = RetryPolicy { tries: 6, first_pause: pause, longest_pause: pause };
    embedder.with_timeouts(Timeouts { retry, answer: Duration::from_millis(400) })
}

fn azure(settings: &AzureSettings) -> ServiceEmbedder {
    let made = azure_embedder("ada", settings, 8, CancellationToken::new(), EventSink::none());
    quick(made.expect("valid settings"))
}

fn openai(settings: &OpenAiSettings) -> ServiceEmbedder {
    let made = openai_embedder("mine", settings, 8, CancellationToken::new(), EventSink::none());
    quick(made.expect("valid settings"))
}

fn queue(embedder: ServiceEmbedder) -> EmbedQueue {
    EmbedQueue::new(Arc::new(embedder), None, CancellationToken::new(), EventSink::none())
}

async fn embed(embedder: &ServiceEmbedder, texts: &[&str]) -> Result<(Vec<Vec<f32>>, u64), StageError> {
    let tokens = texts.iter().map(|text| embedder.count_tokens(text) as u64).sum();
    let answer = embedder.embed(texts, tokens).await?;
    Ok((answer.vectors.iter().map(|vector| vector.to_vec()).collect(), answer.tokens))
}

fn expected(texts: &[&str], dimensions: usize) -> Vec<Vec<f32>> {
    texts.iter().map(|text| FakeOpenAi::vector(text, dimensions)).collect()
}

fn numbered(n: usize) -> Vec<String> {
    (0..n).map(|n| format!("text number {n}")).collect()
}

#[tokio::test]
async fn every_form_of_address_and_credential_gives_the_vectors() {
    let texts = ["one", "two words", "Drei Wörter hier 💡"];
    let fake = FakeOpenAi::start(Options::default());
    let base = azure_settings(&fake);
    let v1 = AzureSettings { api_version: None, ..base.clone() };
    let entra = AzureSettings { api_key: None, bearer_token: base.api_key.clone(), ..base.clone() };
    let key = OpenAiSettings {
        api_key: Some(Secret::new(KEY)),
        model: "text-embedding-3-small".into(),
        dimensions: Some(64),
        ..openai_settings(&fake)
    };
    let versioned = OpenAiSettings { base_url: format!("{}/v1/", fake.url()), ..key.clone() };
    for embedder in [azure(&base), azure(&v1), azure(&entra), openai(&key), openai(&versioned)] {
        let (vectors, tokens) = embed(&embedder, &texts).await.expect("embedded");
        assert_eq!(vectors, expected(&texts, 64), "{}", embedder.label());
        let counted: usize = texts.iter().map(|text| embedder.count_tokens(text)).sum();
        assert_eq!(tokens, counted as u64);
    }
    let targets: Vec<String> = fake.calls().into_iter().map(|call| call.target()).collect();
    let dated = "/openai/deployments/text-embedding-3-small/embeddings?api-version=2024-10-21";
    assert_eq!(targets, [dated, "/openai/v1/embeddings", dated, "/v1/embeddings", "/v1/embeddings"]);
    assert!(fake.calls().iter().all(|call| call.json()["encoding_format"] == "base64"));
    let with_key: Vec<bool> = fake.calls().iter().map(|call| call.header("api-key").is_some()).collect();
    assert_eq!(with_key, [true, true, false, false, false], "each credential in its own header");
}

#[tokio::test]
async fn dimensions_are_sent_when_configured_and_asked_for_once_when_not() {
    let fake = FakeOpenAi::start(Options::default());
    let short = azure(&AzureSettings { dimensions: Some(16), ..azure_settings(&fake) });
    assert_eq!(short.dimensions().await.expect("configured"), 16);
    assert!(fake.calls().is_empty());
    assert_eq!(embed(&short, &["x"]).await.expect("embedded").0, expected(&["x"], 16));
    let native = azure(&azure_settings(&fake));
    for _ in 0..3 {
        assert_eq!(native.dimensions().await.expect("probed"), 64);
    }
    assert_eq!(fake.calls().len(), 2);
    assert!(fake.calls()[1].json().get("dimensions").is_none());
    assert_ne!(short.identity(), native.identity());
    let known = OpenAiSettings { model: "text-embedding-3-large".into(), ..openai_settings(&fake) };
    assert_eq!(openai(&known).dimensions().await.expect("known"), 3072);
    assert_eq!(fake.calls().len(), 2);
}

#[tokio::test]
async fn compatible_servers_may_differ() {
    let texts = ["one", "two"];
    for encoding in [Encoding::Ignored, Encoding::Refused] {
        let fake = FakeOpenAi::start(Options { encoding, ..compatible() });
        let embedder = openai(&openai_settings(&fake));
        for _ in 0..2 {
            assert_eq!(embed(&embedder, &texts).await.expect("embedded").0, expected(&texts, 64));
        }
        // The client remembers that the format is refused and does not request it again.
        assert_eq!(fake.calls().len(), if encoding == Encoding::Refused { 3 } else { 2 });
        assert_eq!(fake.embedded().values().copied().collect::<Vec<_>>(), [2, 2]);
    }
}

#[tokio::test]
async fn a_smaller_batch_limit_is_learnt() {
    let fake = FakeOpenAi::start(Options { max_inputs: 32, flat_errors: true, ..compatible() });
    let queue = queue(openai(&openai_settings(&fake)));
    let texts = numbered(400);
    assert!(queue.embed("p", texts.clone()).await.iter().all(Result::is_ok));
    assert_eq!(queue.embedder().limits().inputs_per_call, 32);
    assert!(fake.embedded().len() == 400 && fake.embedded().values().all(|&times| times == 1));
    let before = fake.calls().len();
    let more = texts.iter().map(|text| format!("{text} more")).collect();
    assert!(queue.embed("p", more).await.iter().all(Result::is_ok));
    assert!(fake.calls()[before..].iter().all(|call| call.status == Some(200)));
}

#[tokio::test]
async fn every_transient_fault_is_retried() {
    let status = |status| Fault::Answer(Response::text(status, "{}"));
    let faults = [
        ("429 with retry-after-ms", status(429).with("retry-after-ms", "5"), 1),
        ("429 with retry-after", status(429).with("retry-after", "0"), 1),
        ("429 with nothing", status(429), 1),
        ("408", status(408), 1),
        ("409", status(409), 1),
        ("500", status(500), 1),
        ("503", status(503), 1),
        ("reset", Fault::Reset, 1),
        ("hang", Fault::Hang, 1),
        ("html", Fault::html(), 1),
        // The call was charged before its answer was lost, which the client cannot know, so it pays
        // again.
        ("truncated", Fault::Truncated, 2),
        ("lost", Fault::AnswerLost, 2),
    ];
    for (what, fault, paid) in faults {
        let fake = FakeOpenAi::start(Options::default());
        let embedder = azure(&azure_settings(&fake));
        fake.fail([fault]);
        let (vectors, _) = embed(&embedder, &["one", "two"]).await.expect(what);
        assert_eq!(vectors, expected(&["one", "two"], 64), "{what}");
        assert_eq!(fake.embedded()["one"], paid, "{what}");
    }
}

#[tokio::test]
async fn answers_that_do_not_add_up_are_asked_for_again() {
    for flaw in [Flaw::OneTooFew, Flaw::SameIndex] {
        let fake = FakeOpenAi::start(Options::default());
        let embedder = azure(&azure_settings(&fake));
        fake.flaw(flaw);
        let (vectors, _) = embed(&embedder, &["one", "two"]).await.expect("the second answer");
        assert_eq!(vectors, expected(&["one", "two"], 64), "{flaw:?}");
        assert_eq!(fake.calls().len(), 2, "{flaw:?}");
    }
}

#[tokio::test]
async fn retries_are_limited_and_the_cause_is_reported() {
    let fake = FakeOpenAi::start(Options::default());
    let embedder = azure(&azure_settings(&fake));
    let busy = r#"{"error":{"code":"InternalServerError","message":"System is experiencing high demand"}}"#;
    fake.fail((0..50).map(|_| Fault::Answer(Response::text(503, busy))));
    let error = embed(&embedder, &["one"]).await.expect_err("used up");
    assert_eq!(fake.calls().len(), 6);
    assert!(matches!(error.kind, ErrorKind::Transient { .. }));
    let message = error.one_line().replace(&fake.url()[7..], "HOST");
    insta::assert_snapshot!(message, @"HOST answered 503 (InternalServerError): System is experiencing high demand");
}

#[tokio::test]
async fn a_wait_of_more_than_five_minutes_is_an_end() {
    let fake = FakeOpenAi::start(Options::default());
    let embedder = azure(&azure_settings(&fake));
    fake.fail([Fault::Answer(Response::text(429, "quota").with("retry-after", "86400"))]);
    let error = embed(&embedder, &["one"]).await.expect_err("ends");
    let message = error.one_line().replace(&fake.url()[7..], "HOST");
    insta::assert_snapshot!(message, @"HOST answered 429: quota (asked to wait 86400 s)");
    assert_eq!(embed(&embedder, &["one"]).await.expect("the next run").0, expected(&["one"], 64));
}

#[tokio::test]
async fn permanent_errors_end_at_once_with_cause_and_remedy() {
    let fake = FakeOpenAi::start(Options { shortens: false, ..Options::default() });
    let base = azure_settings(&fake);
    let wrong_key = "wrong-key-0123456789";
    let cases = [
        azure(&AzureSettings { api_key: Some(Secret::new(wrong_key)), ..base.clone() }),
        azure(&AzureSettings { deployment: "nowhere".into(), ..base.clone() }),
        azure(&AzureSettings { dimensions: Some(256), ..base.clone() }),
        openai(&OpenAiSettings {
            api_key: base.api_key.clone(),
            model: "gpt".into(),
            ..openai_settings(&fake)
        }),
        openai(&OpenAiSettings { base_url: format!("{}/wrong", fake.url()), ..openai_settings(&fake) }),
    ];
    let mut told = Vec::new();
    for embedder in cases {
        let before = fake.calls().len();
        let error = embed(&embedder, &["one"]).await.expect_err("permanent");
        assert_eq!(error.kind, ErrorKind::Misconfigured);
        assert_eq!(fake.calls().len(), before + 1, "no second try");
        told.push(format!("{error}\nhint: {}", error.hint.as_deref().unwrap_or_default()));
    }
    let quota = r#"{"error":{"type":"insufficient_quota","message":"You exceeded your current quota."}}"#;
    fake.fail([
        Fault::Answer(Response::text(429, quota)),
        Fault::Answer(Response::text(403, "Public access is disabled.")),
        Fault::Answer(Response::status(302).with("location", "https://elsewhere.example/")),
    ]);
    for _ in 0..3 {
        let error = embed(&azure(&base), &["one"]).await.expect_err("permanent");
        assert_eq!(error.kind, ErrorKind::Misconfigured);
        told.push(format!("{error}\nhint: {}", error.hint.as_deref().unwrap_or_default()));
    }
    let told = told.join("\n\n").replace(&fake.url()[7..], "HOST");
    assert!(!told.contains(wrong_key) && !told.contains(KEY));
    assert!(fake.embedded().is_empty(), "before any cost");
    insta::assert_snapshot!(told);
}

#[tokio::test]
async fn vectors_of_another_length_are_a_wrong_configuration() {
    let fake = FakeOpenAi::start(Options::default());
    let settings = OpenAiSettings {
        api_key: Some(Secret::new(KEY)),
        model: "text-embedding-3-small".into(), // known to give 1,536; this server gives 64
        ..openai_settings(&fake)
    };
    let error = embed(&openai(&settings), &["one"]).await.expect_err("refused");
    assert_eq!(error.kind, ErrorKind::Misconfigured);
    let told =
        format!("{error} / {}", error.hint.as_deref().unwrap_or_default()).replace(&fake.url()[7..], "HOST");
    insta::assert_snapshot!(told, @"stage `mine`: HOST gives vectors of 64 components instead of 1536 / set `dimensions = 64`, or use the model that gives 1536");
}

#[tokio::test]
async fn one_refused_text_of_many_is_found_and_the_others_are_paid_once() {
    let fake = FakeOpenAi::start(Options { refuses: Some("forbidden".into()), ..Options::default() });
    let queue = queue(azure(&azure_settings(&fake)));
    let mut texts = numbered(1000);
    texts[617] = "a forbidden text".into();
    let answers = queue.embed("p", texts.clone()).await;
    for (text, answer) in texts.iter().zip(&answers) {
        match answer {
            Ok(embedded) => assert_eq!(embedded.vector[..], FakeOpenAi::vector(text, 64)),
            Err(error) => {
                assert_eq!((text.as_str(), error.kind), ("a forbidden text", ErrorKind::Refused));
                assert!(error.message.contains("content_filter"), "{error}");
            }
        }
    }
    assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 1);
    assert!(fake.embedded().len() == 999 && fake.embedded().values().all(|&times| times == 1));
    assert!(fake.calls().len() <= 10 + 2 * 7, "{} calls", fake.calls().len());
}

#[tokio::test]
async fn every_limit_of_a_request_is_kept() {
    let options = Options { max_inputs: 50, max_tokens: 3000, max_input_tokens: 200, ..compatible() };
    let fake = FakeOpenAi::start(options);
    let settings = OpenAiSettings {
        batch_size: 50,
        max_input_tokens: 200,
        tokens_per_minute: Some(3000 * 1000),
        ..openai_settings(&fake)
    };
    // A call may not exceed one minute's budget; the total here is 300,000 tokens.
    let embedder = openai(&OpenAiSettings { tokens_per_minute: Some(3000), ..settings.clone() });
    assert_eq!(embedder.limits().tokens_per_call, 3000);
    let queue = queue(openai(&settings));
    let mut texts: Vec<String> = (0..200).map(|n| format!("{n} ").repeat(n % 60 + 1)).collect();
    texts.push("word ".repeat(300));
    let answers = queue.embed("p", texts).await;
    assert!(answers[..200].iter().all(Result::is_ok));
    let error = answers[200].as_ref().expect_err("over the limit");
    assert!(error.message.contains("over the limit of 200"), "{error}");
    assert!(
        fake.calls()
            .iter()
            .all(|call| inputs(call).len() <= 50 && inputs(call).iter().all(|t| !t.contains("word")))
    );
}

#[tokio::test]
async fn concurrency_is_reduced_and_nothing_is_lost() {
    let options = Options { at_once: 2, latency: Duration::from_millis(10), ..Options::default() };
    let fake = FakeOpenAi::start(options);
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&events);
    let sink = EventSink::new(move |event| sink.lock().expect("lock").push(event));
    let settings = AzureSettings { batch_size: 10, ..azure_settings(&fake) };
    let embedder =
        azure_embedder("ada", &settings, 8, CancellationToken::new(), sink.clone()).expect("valid");
    // Many retries: the test is that the limiter lowers the load.
    let retry = RetryPolicy { tries: 50, ..RetryPolicy::default() };
    let embedder = embedder.with_timeouts(Timeouts { retry, answer: Duration::from_secs(10) });
    let queue = EmbedQueue::new(Arc::new(embedder), None, CancellationToken::new(), sink);
    assert!(queue.embed("p", numbered(400)).await.iter().all(Result::is_ok));
    assert!(fake.embedded().len() == 400 && fake.embedded().values().all(|&times| times == 1));
    assert!(fake.most_at_once() > 2, "it was tried");
    let (mut ok, mut limited, mut tokens) = (0, 0, 0);
    for event in events.lock().expect("lock").iter() {
        match event {
            Event::Call { ok: true, tokens: n, .. } => (ok, tokens) = (ok + 1, tokens + n),
            Event::Call { error: Some("rate_limit"), .. } => limited += 1,
            _ => {}
        }
    }
    let refused = fake.calls().iter().filter(|call| call.status == Some(429)).count();
    assert_eq!((ok, limited), (40, refused));
    assert_eq!(tokens, fake.tokens());
    assert!(refused < 60, "{refused} calls were refused");
}

#[tokio::test]
async fn the_rate_limit_headers_are_obeyed_before_a_refusal() {
    let fake = FakeOpenAi::start(Options::default());
    let embedder = azure(&azure_settings(&fake));
    let vector = FakeOpenAi::vector("one", 64);
    let body = serde_json::json!({ "data": [{ "index": 0, "embedding": vector }] });
    let answer = Response::json(200, &body)
        .with("x-ratelimit-remaining-requests", "0")
        .with("x-ratelimit-reset-requests", "120ms");
    fake.fail([Fault::Answer(answer)]);
    embed(&embedder, &["one"]).await.expect("embedded");
    let before = Instant::now();
    embed(&embedder, &["two"]).await.expect("embedded");
    assert!(before.elapsed() >= Duration::from_millis(100), "{:?}", before.elapsed());
}

#[tokio::test]
async fn an_interruption_ends_the_waiting() {
    let fake = FakeOpenAi::start(Options::default());
    let cancel = CancellationToken::new();
    let waiting = cancel.clone();
    let sink = EventSink::new(move |event| {
        if matches!(event, Event::Waiting { .. }) {
            waiting.cancel();
        }
    });
    let embedder = azure_embedder("ada", &azure_settings(&fake), 8, cancel, sink).expect("valid");
    fake.fail([Fault::Answer(Response::status(429).with("retry-after", "200"))]);
    let error = embed(&embedder, &["one"]).await.expect_err("interrupted");
    assert_eq!(error.kind, ErrorKind::Cancelled);
    assert_eq!(fake.calls().len(), 1);
}

/// What a call sent: texts, and `input_type`.
fn sent(fake: &FakeOpenAi) -> Vec<(Vec<String>, serde_json::Value)> {
    fake.calls().iter().map(|call| (inputs(call), call.json()["input_type"].clone())).collect()
}

#[tokio::test]
async fn documents_and_queries_are_told_apart() {
    let fake = FakeOpenAi::start(Options { input_type: true, ..compatible() });
    let plain = openai_settings(&fake);
    for (kind, document, query) in [
        (InputType::Voyage, "document", "query"),
        (InputType::Cohere, "search_document", "search_query"),
        (InputType::Nvidia, "passage", "query"),
    ] {
        let settings = OpenAiSettings {
            document_prefix: Some("passage: ".into()),
            query_prefix: Some("query: ".into()),
            input_type: Some(kind),
            ..plain.clone()
        };
        let embedder = openai(&settings);
        let before = fake.calls().len();
        let input = embedder.input(Some("Heading"), "text");
        embed(&embedder, &[&input]).await.expect("a vector");
        let vector = embedder.embed_one("where?").await.expect("a vector");
        assert_eq!(
            sent(&fake)[before..],
            [
                (vec!["passage: Heading\n\ntext".to_owned()], document.into()),
                (vec!["query: where?".to_owned()], query.into()),
            ]
        );
        assert_eq!(vector.to_vec(), FakeOpenAi::vector("query: where?", 64));
        assert!(embedder.embed_one(" ").await.is_err(), "a prefix alone is no query");
    }
}

#[test]
fn an_identity_depends_on_what_documents_are_sent_as() {
    let fake = FakeOpenAi::start(compatible());
    let plain = OpenAiSettings { base_url: "https://h.example/v1".into(), ..openai_settings(&fake) };
    let identity = |settings: &OpenAiSettings| openai(settings).identity().clone();
    let with = |document: Option<&str>, query: Option<&str>, input_type: Option<InputType>| OpenAiSettings {
        document_prefix: document.map(Into::into),
        query_prefix: query.map(Into::into),
        input_type,
        ..plain.clone()
    };
    // As before there were such keys: no text is embedded again by an update of the program.
    let known = Fingerprint::of(["openai", "https://h.example/v1/embeddings", "nomic", ""]);
    assert_eq!(identity(&plain), known);
    assert_eq!(identity(&with(Some(""), Some("query: "), None)), known);
    let marked = [
        identity(&with(Some("passage: "), None, None)),
        identity(&with(Some("text: "), None, None)),
        identity(&with(None, None, Some(InputType::Voyage))),
        identity(&with(None, None, Some(InputType::Cohere))),
        identity(&with(Some("passage: "), None, Some(InputType::Voyage))),
    ];
    let mut all: Vec<String> = marked.iter().chain([&known]).map(ToString::to_string).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 6, "all differ");
}

/// Through the whole program: an edit of the query's prefix costs nothing, one of the documents' embeds all again.
#[test]
fn an_edit_of_a_prefix_costs_what_depends_on_it() {
    let fake = FakeOpenAi::start(compatible());
    let local = Local::new();
    let with = |keys: &str| {
        let model = format!(
            "[stages.model]\nkind = \"openai\"\nbase_url = \"{}\"\nmodel = \"nomic\"\n{keys}\n",
            fake.url()
        );
        local.config(&project("").replace("[stages.model]\nkind = \"local\"\n", &model));
    };
    with("");
    assert_eq!(local.apply(&[]).exits(0).count("texts_embedded"), 3);
    with("query_prefix = \"query: \"");
    let work = local.apply(&[]).exits(0).counts(WORK);
    assert_eq!(work, [0; 4]);
    local.world.ok(&["query", "start"]);
    assert_eq!(sent(&fake).last().expect("a call").0, ["query: start"]);
    with("query_prefix = \"query: \"\ndocument_prefix = \"passage: \"");
    let applied = local.apply(&["--allow-cost"]).exits(0);
    assert_eq!(applied.count("texts_embedded"), 3);
    assert!(fake.embedded().keys().any(|text| text.starts_with("passage: Start here")));
    local.assert_as_fresh();
    with(&format!("document_prefix = \"{}\"", "x".repeat(2001)));
    let refused = local.world.run(&["validate"]).exits(2);
    assert!(refused.stderr.contains("document_prefix") && refused.stderr.contains("longer than 2000 bytes"));
    with("input_type = \"openai\"");
    let refused = local.world.run(&["validate"]).exits(2);
    assert!(refused.stderr.contains("voyage"), "{}", refused.stderr);
}

/// A chunk leaves room for the prefix that is written before it.
#[test]
fn a_text_with_its_prefix_is_within_the_limit() {
    let fake = FakeOpenAi::start(Options { max_input_tokens: 64, ..compatible() });
    let local = Local::new();
    local.repo.write("long.md", "several words of a long text ".repeat(200)).commit("second");
    let model = format!(
        "[stages.model]\nkind = \"openai\"\nbase_url = \"{}\"\nmodel = \"nomic\"\nmax_input_tokens = 64\ndocument_prefix = \"{}\"\n",
        fake.url(),
        "a rather long instruction to the model, and then: ".repeat(3)
    );
    let config = project("").replace("[stages.model]\nkind = \"local\"\n", &model);
    local.config(&config.replace("max_chunk_size = 200", "max_chunk_size = 4000"));
    assert_eq!(local.apply(&[]).exits(0).count("files_failed"), 0);
}
