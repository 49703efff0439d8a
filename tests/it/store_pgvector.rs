//! The store in PostgreSQL against a real server with pgvector: the contract, recall, ranking, filters, what is counted,
//! every error, and the program end to end.

mod program;

use std::sync::Arc;
use std::time::Duration;

use reposync::model::{ErrorKind, EventSink, Metadata, Record, StageError, Vector};
use reposync::net::{RetryPolicy, Timeouts};
use reposync::rank::{Ranked, Words, rank};
use reposync::store::pgvector::{PgvectorSettings, PgvectorStore};
use reposync::store::sqlite::SqliteStore;
use reposync::store::{Query, Search, SearchScope, Selection, VectorStore};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::store_contract::keeps_its_promises;
use crate::support::pgvector;
use crate::support::postgres::Postgres;

fn store_with(url: &str, more: &Value) -> PgvectorStore {
    let mut settings = json!({ "url": url, "table": "docs" });
    let keys = settings.as_object_mut().expect("an object");
    keys.extend(more.as_object().expect("an object").clone());
    let settings: PgvectorSettings = serde_json::from_value(settings).expect("settings");
    let retry = RetryPolicy {
        tries: 3,
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(2),
    };
    PgvectorStore::new("index", &settings, 4, CancellationToken::new(), EventSink::none())
        .expect("a client")
        .with_timeouts(Timeouts { retry, answer: Duration::from_secs(60) })
}

fn store(url: &str) -> PgvectorStore {
    store_with(url, &json!({}))
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn of(&mut self, n: usize) -> usize {
        usize::try_from(self.next()).expect("31 bits") % n
    }

    fn vector(&mut self, dimensions: usize) -> Vec<f32> {
        (0..dimensions).map(|_| self.next() as f32 / (1u64 << 30) as f32 - 1.0).collect()
    }
}

const WORDS: [&str; 12] = [
    "retry",
    "policy",
    "connection",
    "deletion",
    "guard",
    "vector",
    "index",
    "query",
    "parser",
    "token",
    "ledger",
    "mirror",
];

/// A record of project `p` whose path, symbol, language and text vary.
fn record(n: usize, vector: Vec<f32>, dice: &mut Dice) -> Record {
    let text: Vec<&str> = (0..20).map(|_| WORDS[dice.of(WORDS.len())]).collect();
    let file = dice.of(8);
    let symbol = format!("{}::{}", WORDS[dice.of(WORDS.len())], WORDS[dice.of(WORDS.len())]);
    let metadata = json!({
        "project": "p",
        "repository": if file < 5 { "acme/api" } else { "acme/web" },
        "file_path": format!("{}/{}_{file}.rs", ["src", "tests"][file % 2], WORDS[file]),
        "chunk_index": n,
        "text": text.join(" "),
        "start_line": n,
        "end_line": n + 1,
        "language": if file.is_multiple_of(3) { "Rust" } else { "go" },
        "kind": if n.is_multiple_of(2) { "function" } else { "section" },
        "name": symbol,
    });
    let metadata = metadata.as_object().expect("an object").clone();
    Record {
        id: format!("r-{n:05}"),
        vector: Vector::from(vector),
        metadata: Arc::new(Metadata::foreign(metadata)),
    }
}

fn records(count: usize, dimensions: usize) -> Vec<Record> {
    let mut dice = Dice(7);
    (0..count)
        .map(|n| {
            let vector = dice.vector(dimensions);
            record(n, vector, &mut dice)
        })
        .collect()
}

async fn fill(store: &dyn VectorStore, namespace: &str, records: &[Record]) {
    store.check(records[0].vector.len()).await.expect("ready");
    for batch in records.chunks(200) {
        store.upsert(namespace, batch).await.expect("upsert");
    }
}

fn about(text: &str, vector: Vec<f32>) -> Search {
    Search {
        scopes: vec![SearchScope { namespace: "n".into(), project: "p".into() }],
        vector: Some(Vector::from(vector)),
        words: Some(Arc::new(Words::new(text))),
        selection: Selection::default(),
        filter: None,
        symbol: None,
        depth: 100,
    }
}

async fn ranked(store: &dyn VectorStore, search: &Search) -> Vec<Ranked> {
    let found = store.search(search).await.expect("search");
    let words = search.words.clone().unwrap_or_else(|| Arc::new(Words::new("")));
    rank(&words, found, &store.weights(), false)
}

fn ids(ranked: &[Ranked]) -> Vec<&str> {
    ranked.iter().map(|one| one.candidate.id.as_str()).collect()
}

#[tokio::test]
async fn keeps_the_promises_of_a_store() {
    let Some(server) = pgvector::server() else { return };
    let url = server.database();
    keeps_its_promises(Arc::new(store(&url))).await;
    assert_counts(server, &url);
    // Another process sees the same records, and one that compares all vectors finds the same.
    let again = store_with(&url, &json!({ "index": "none" }));
    let query = Query { vector: Vector::from([0.0, 0.0, 1.0]), top_k: 1, filter: None };
    assert_eq!(again.query("a", &query).await.expect("query")[0].id, "f1-a-0");
    assert_eq!(again.describe().await.expect("describe").namespaces.len(), 3);
}

#[cfg(unix)]
#[tokio::test]
async fn keeps_its_promises_behind_pgbouncer() {
    let Some(server) = pgvector::server() else { return };
    let url = server.database();
    let Some(bouncer) = crate::support::pgbouncer::PgBouncer::start(&url) else { return };
    keeps_its_promises(Arc::new(store(&bouncer.url(&url)))).await;
    assert_counts(server, &url);
}

#[tokio::test]
async fn keeps_its_promises_in_a_schema_without_an_index() {
    let Some(server) = pgvector::server() else { return };
    let url = server.database();
    server.sql(&url, "CREATE SCHEMA search");
    keeps_its_promises(Arc::new(store_with(&url, &json!({ "table": "search.docs", "index": "none" })))).await;
    assert_eq!(server.sql(&url, "SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%hnsw%'"), "0");
}

/// What is counted equals what is stored.
#[track_caller]
fn assert_counts(server: &Postgres, url: &str) {
    let differing = server.sql(
        url,
        "SELECT (SELECT count(*) FROM (SELECT namespace, word, count(*) AS n FROM docs_words, unnest(words) AS word
                                       GROUP BY 1, 2) AS a
                 FULL JOIN docs_frequencies USING (namespace, word) WHERE n IS DISTINCT FROM chunks),
                (SELECT count(*) FROM (SELECT namespace, file, count(*) AS n FROM docs_vectors GROUP BY 1, 2) AS a
                 FULL JOIN docs_files ON number = file WHERE n IS DISTINCT FROM chunks),
                (SELECT count(*) FROM docs_namespaces AS n
                 WHERE chunks <> (SELECT count(*) FROM docs WHERE namespace = number)
                    OR tokens <> (SELECT coalesce(sum(length), 0) FROM docs_words WHERE namespace = number))",
    );
    assert_eq!(differing, "0|0|0", "words, files, namespaces");
}

#[tokio::test]
async fn the_graph_finds_nearly_all_of_the_nearest() {
    let Some(server) = pgvector::server() else { return };
    let url = server.database();
    let index = store(&url);
    // Clusters, as vectors of texts have them.
    let mut dice = Dice(3);
    let centres: Vec<Vec<f32>> = (0..40).map(|_| dice.vector(32)).collect();
    let near = |dice: &mut Dice| -> Vec<f32> {
        let centre = &centres[dice.of(centres.len())];
        centre.iter().zip(dice.vector(32)).map(|(a, b)| a + 0.4 * b).collect()
    };
    let all: Vec<Record> = (0..3000)
        .map(|n| {
            let vector = near(&mut dice);
            record(n, vector, &mut dice)
        })
        .collect();
    fill(&index, "n", &all).await;
    server.sql(&url, "ANALYZE");
    let exact = store_with(&url, &json!({ "index": "none" }));
    let mut found = 0;
    for _ in 0..30 {
        let query = Query { vector: Vector::from(near(&mut dice)), top_k: 10, filter: None };
        let ids = |matches: Vec<reposync::model::Match>| -> Vec<String> {
            matches.into_iter().map(|one| one.id).collect()
        };
        let expected = ids(exact.query("n", &query).await.expect("query"));
        let given = ids(index.query("n", &query).await.expect("query"));
        assert_eq!(given.len(), 10);
        found += expected.iter().filter(|id| given.contains(id)).count();
    }
    assert!(found >= 294, "{found} of 300 of the nearest");
    // Of a filter that few records pass, all are found.
    let filter = json!({ "start_line": { "$in": [5, 1500, 2999] } });
    let query = Query { vector: Vector::from(near(&mut dice)), top_k: 10, filter: Some(filter) };
    assert_eq!(index.query("n", &query).await.expect("query").len(), 3);
}

#[tokio::test]
async fn ranks_as_the_embedded_store_does() {
    let Some(server) = pgvector::server() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (postgres, sqlite) =
        (store(&server.database()), SqliteStore::open("index", folder.path().join("i.db")));
    let all = records(90, 16);
    fill(&postgres, "n", &all).await;
    fill(&sqlite, "n", &all).await;
    let mut dice = Dice(11);
    for text in [
        "retry policy",
        "how is a connection guarded",
        "parser token ledger mirror",
        "deletion",
        "nothing of it",
    ] {
        for symbol in [None, Some("guard")] {
            for path in [None, Some("src/**")] {
                let mut search = Search { symbol: symbol.map(str::to_owned), ..about(text, dice.vector(16)) };
                search.selection.paths.include.extend(path.map(str::to_owned));
                let (a, b) = (ranked(&postgres, &search).await, ranked(&sqlite, &search).await);
                assert!(!a.is_empty());
                assert_eq!(ids(&a), ids(&b), "{text}, {symbol:?}, {path:?}");
                for (a, b) in a.iter().zip(&b) {
                    assert!((a.score - b.score).abs() < 1e-5, "{:?} {:?}", a.terms, b.terms);
                }
            }
        }
    }
}

#[tokio::test]
async fn the_mean_is_that_of_a_sample() {
    let Some(server) = pgvector::server() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (postgres, sqlite) =
        (store(&server.database()), SqliteStore::open("index", folder.path().join("i.db")));
    let all = records(1500, 16);
    fill(&postgres, "n", &all).await;
    fill(&sqlite, "n", &all).await;
    let search = about("retry", Dice(5).vector(16));
    let scale = |found: reposync::rank::Candidates| found.scale.chunks.expect("cosines");
    let sampled = scale(postgres.search(&search).await.expect("search"));
    let whole = scale(sqlite.search(&search).await.expect("search"));
    assert!((sampled.mean - whole.mean).abs() < 0.02, "{sampled:?} {whole:?}");
    assert!((sampled.max - whole.max).abs() < 1e-6 && sampled.count == 1500, "{sampled:?} {whole:?}");
}

#[tokio::test]
async fn filters_apply_before_the_best_are_taken() {
    let Some(server) = pgvector::server() else { return };
    let url = server.database();
    let store = store(&url);
    let all = records(600, 8);
    fill(&store, "n", &all).await;
    let mut dice = Dice(1);
    for (paths, repositories, languages, kinds) in [
        (&["src/**"][..], &[][..], &[][..], &[][..]),
        (&["tests"], &[], &[], &[]),
        (&["!src/**", "*_1.rs"], &[], &[], &[]),
        (&[], &["acme/web"], &[], &[]),
        (&[], &["acme/*", "!acme/web"], &["rust"], &[]),
        (&[], &[], &["!RUST"], &["function"]),
        (&["nowhere/**"], &[], &[], &[]),
    ] {
        let mut search = Search { depth: 20, ..about("guard", dice.vector(8)) };
        let facets = [
            (&mut search.selection.paths, paths),
            (&mut search.selection.repositories, repositories),
            (&mut search.selection.languages, languages),
            (&mut search.selection.kinds, kinds),
        ];
        for (facet, values) in facets {
            for value in values {
                facet.add(value);
            }
        }
        let selector = search.selection.selector("index").expect("globs");
        let passing = all.iter().filter(|one| selector.passes(&one.metadata.to_json())).count();
        for (words, vector) in [(true, false), (false, true)] {
            let search = Search {
                words: search.words.clone().filter(|_| words),
                vector: search.vector.clone().filter(|_| vector),
                ..search.clone()
            };
            let found = store.search(&search).await.expect("search").list;
            assert!(found.iter().all(|one| selector.passes(&one.metadata)), "{paths:?}");
            assert_eq!(found.len(), passing.min(20), "{paths:?} {repositories:?} {languages:?} {kinds:?}");
        }
    }
}

#[tokio::test]
async fn projects_in_one_namespace_are_kept_apart() {
    let Some(server) = pgvector::server() else { return };
    let url = server.database();
    let store = store(&url);
    let all = records(40, 8);
    fill(&store, "n", &all).await;
    let mut other = all[0].clone();
    other.id = "other".into();
    let metadata = Arc::make_mut(&mut other.metadata);
    metadata.foreign.as_mut().expect("foreign").insert("project".into(), "q".into());
    store.upsert("n", &[other]).await.expect("upsert");
    let of = |project: &str| {
        let mut search = about(&all[0].metadata.text, all[0].vector.to_vec());
        search.scopes[0].project = project.into();
        search
    };
    let both = Search { scopes: [of("p").scopes, of("q").scopes].concat(), ..of("p") };
    for (search, count) in [(of("p"), 40), (of("q"), 1), (of("none"), 0), (both, 41)] {
        assert_eq!(store.search(&search).await.expect("search").list.len(), count);
    }
    assert_counts(server, &url);
}

#[tokio::test]
async fn moved_lines_leave_the_vector_and_the_words_as_they_are() {
    let Some(server) = pgvector::server() else { return };
    let url = server.database();
    let store = store(&url);
    let mut all = records(50, 8);
    fill(&store, "n", &all).await;
    let place = |table: &str| {
        server
            .sql(&url, &format!("SELECT string_agg(ctid::text || xmin::text, ' ' ORDER BY row) FROM {table}"))
    };
    let before = (place("docs_vectors"), place("docs_words"), place("docs"));
    store.upsert("n", &all).await.expect("the same again");
    assert_eq!((place("docs_vectors"), place("docs_words"), place("docs")), before);
    for one in &mut all {
        let foreign = Arc::make_mut(&mut one.metadata).foreign.as_mut().expect("foreign");
        foreign.insert("start_line".into(), json!(1000));
    }
    store.upsert("n", &all).await.expect("upsert");
    assert_eq!((place("docs_vectors"), place("docs_words")), (before.0, before.1));
    assert_ne!(place("docs"), before.2);
    assert_eq!(store.fetch("n", &["r-00007".into()]).await.expect("fetch")[0].metadata["start_line"], 1000);
    // Other words and another path.
    let metadata = Arc::make_mut(&mut all[3].metadata);
    metadata.text = "zebra".into();
    let foreign = metadata.foreign.as_mut().expect("foreign");
    foreign.insert("text".into(), json!("zebra"));
    foreign.insert("file_path".into(), json!("src/zebra.rs"));
    store.upsert("n", &all).await.expect("upsert");
    assert_counts(server, &url);
    let found =
        store.search(&Search { vector: None, ..about("zebras", vec![1.0; 8]) }).await.expect("search");
    assert_eq!(found.list.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["r-00003"]);
    let ids: Vec<String> = all.iter().map(|one| one.id.clone()).collect();
    store.delete("n", &ids).await.expect("delete");
    assert_counts(server, &url);
    assert_eq!(server.sql(&url, "SELECT count(*) FROM docs_files"), "0");
}

#[tokio::test]
async fn two_processes_write_the_same_files_at_once() {
    let Some(server) = pgvector::server() else { return };
    let url = server.database();
    let all = records(240, 8);
    let stores: Vec<PgvectorStore> = (0..4).map(|_| store(&url)).collect();
    let work = stores.iter().enumerate().map(|(n, store)| {
        let all = &all;
        async move {
            store.check(8).await.expect("ready");
            for batch in all.chunks(30) {
                store.upsert("n", batch).await.expect("upsert");
                let ids: Vec<String> = batch.iter().skip(n).step_by(9).map(|one| one.id.clone()).collect();
                store.delete("n", &ids).await.expect("delete");
            }
        }
    });
    futures::future::join_all(work).await;
    stores[0].upsert("n", &all).await.expect("upsert");
    assert_counts(server, &url);
    assert_eq!(server.sql(&url, "SELECT chunks FROM docs_namespaces"), "240");
}

#[tokio::test]
async fn a_broken_connection_is_replaced() {
    let Some(server) = pgvector::server() else { return };
    let url = server.database();
    let store = store(&url);
    let all = records(20, 8);
    fill(&store, "n", &all[..10]).await;
    let others = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                  WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert_ne!(server.sql(&url, others), "0");
    store.upsert("n", &all).await.expect("upsert");
    server.sql(&url, others);
    assert_eq!(store.list("n", "", None).await.expect("list").ids.len(), 20);
    // Tables that somebody dropped are created again.
    server.sql(&url, "DROP TABLE docs, docs_vectors, docs_words, docs_files, docs_frequencies, docs_namespaces, docs_info; DROP SEQUENCE docs_rows");
    store.upsert("n", &all).await.expect("upsert");
    assert_eq!(store.list("n", "", None).await.expect("list").ids.len(), 20);
}

#[tokio::test]
async fn large_vectors_are_indexed_in_half_precision() {
    let Some(server) = pgvector::server() else { return };
    let url = server.database();
    let store = store(&url);
    let all = records(30, 2100);
    fill(&store, "n", &all).await;
    let index = server.sql(&url, "SELECT indexdef FROM pg_indexes WHERE indexdef LIKE '%hnsw%'");
    assert!(index.contains("halfvec(2100)") && index.contains("docs_vectors_1"), "{index}");
    let query = Query { vector: all[4].vector.clone(), top_k: 2, filter: None };
    let found = store.query("n", &query).await.expect("query");
    assert!(found[0].id == all[4].id && (found[0].score - 1.0).abs() < 1e-6, "{found:?}");
    let error = store.check(4001).await.expect_err("more than an index takes");
    assert!(error.message.contains("4001 components; pgvector takes at most 4000"), "{error}");
}

#[tokio::test]
async fn texts_with_nul_are_kept() {
    let Some(server) = pgvector::server() else { return };
    let store = store(&server.database());
    let metadata = json!({"project": "p", "text": "a\u{0}b", "name": "x\u{0}", "other": "\u{0}"});
    let metadata = metadata.as_object().expect("an object").clone();
    let record = Record {
        id: "nul".into(),
        vector: Vector::from([1.0, 0.0]),
        metadata: Arc::new(Metadata::foreign(metadata.clone())),
    };
    fill(&store, "n", &[record]).await;
    assert_eq!(store.fetch("n", &["nul".into()]).await.expect("fetch")[0].metadata, metadata);
    let query = |filter| Query { vector: Vector::from([1.0, 0.0]), top_k: 1, filter };
    assert_eq!(store.query("n", &query(None)).await.expect("query").len(), 1);
    assert_eq!(store.query("n", &query(Some(json!({"project": "p"})))).await.expect("query").len(), 0);
}

fn shown(error: &StageError) -> String {
    format!("{}; hint: {}", error.one_line(), error.hint.as_deref().unwrap_or("none"))
}

#[tokio::test]
async fn what_the_server_lacks_is_said() {
    let Some(server) = pgvector::server() else { return };
    let url = server.database();
    let at = |user: &str| url.replace("//reposync@", &format!("//{user}@"));
    server.sql(
        &url,
        "CREATE ROLE reader LOGIN; CREATE ROLE busy LOGIN CONNECTION LIMIT 0; CREATE EXTENSION vector",
    );
    let read_only = server.database();
    let name = read_only.rsplit('/').next().expect("a name");
    server.sql("postgres", &format!("ALTER DATABASE {name} SET default_transaction_read_only = on"));
    let (latin, bare) = ("latin1_of_pgvector", server.database());
    server.sql("postgres", &format!("CREATE DATABASE {latin} ENCODING 'LATIN1' TEMPLATE template0"));
    for (url, kind, expected) in [
        (url.replace("/test", "/missing_test"), None, "create the database"),
        (at("nobody"), None, "check user and password"),
        (at("reader"), None, "permission denied"),
        (at("busy"), Some("transient"), "too many connections"),
        (read_only.clone(), None, "only reads"),
        (server.url(latin), None, "UTF8 is needed"),
        (bare.replace("//reposync@", "//reader@"), None, "run `CREATE EXTENSION vector`"),
        (
            "postgres://ann:secret-pw-19@127.0.0.1:1/x".to_owned(),
            Some("transient"),
            "check that the server runs",
        ),
    ] {
        let store = store_with(&url, &json!({ "tls": "disable" }));
        let error = store.check(4).await.expect_err(&url);
        let text = shown(&error);
        assert!(
            text.contains(expected) && text.contains(" in `") || text.contains("`postgres://"),
            "{url}: {text}"
        );
        assert!(text.contains(expected), "{url}: {text}");
        assert!(!text.contains("secret-pw-19"), "{text}");
        let is_transient = matches!(error.kind, ErrorKind::Transient { .. });
        assert_eq!(is_transient, kind.is_some(), "{url}: {error:?}");
        if !is_transient {
            assert_eq!(error.kind, ErrorKind::Misconfigured, "{url}: {error:?}");
        }
    }
    // An old version of the extension.
    let versions = server.sql(
        "postgres",
        "SELECT count(*) FROM pg_available_extension_versions WHERE name = 'vector' AND version = '0.7.4'",
    );
    if versions == "1" {
        let old = server.database();
        server.sql(&old, "CREATE EXTENSION vector VERSION '0.7.4'");
        let text = shown(&store(&old).check(4).await.expect_err("an old version"));
        assert!(
            text.contains("0.7.4; 0.8.4 or newer") && text.contains("ALTER EXTENSION vector UPDATE"),
            "{text}"
        );
    }
}

/// A server on a loopback port that gives one answer to whatever it is asked first; returns its address.
fn answering(answer: Vec<u8>) -> String {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            drop(stream.read(&mut [0; 1024]));
            drop(stream.write_all(&answer));
        }
    });
    format!("postgres://ann:secret-pw-19@127.0.0.1:{port}/x")
}

/// The message with which a server refuses.
fn refusal(code: &str, message: &str) -> Vec<u8> {
    let fields = format!("SFATAL\0VFATAL\0C{code}\0M{message}\0\0");
    let length = u32::try_from(fields.len() + 4).expect("short").to_be_bytes();
    [&b"E"[..], &length, fields.as_bytes()].concat()
}

#[tokio::test]
async fn what_a_server_refuses_is_said_without_the_password() {
    for (answer, tls, transient, expected) in [
        (b"N".to_vec(), "verify-full", false, "switch TLS on at the server"),
        (refusal("28P01", "password authentication failed"), "disable", false, "check user and password"),
        (refusal("57P03", "the database system is starting up"), "disable", true, "away for now"),
        (refusal("53300", "sorry, too many clients already"), "disable", true, "`max_connections`"),
        (
            refusal("53100", "No space left on device"),
            "disable",
            false,
            "free some space on the server's disk",
        ),
    ] {
        let error =
            store_with(&answering(answer), &json!({ "tls": tls })).check(4).await.expect_err(expected);
        let text = shown(&error);
        assert!(text.contains(expected) && text.contains("postgres://ann@127.0.0.1"), "{text}");
        assert!(!format!("{text} {error:?}").contains("secret-pw-19"), "{text}");
        assert_eq!(matches!(error.kind, ErrorKind::Transient { .. }), transient, "{error:?}");
    }
}

#[tokio::test]
async fn a_server_without_the_extension_is_named() {
    let Some(server) = Postgres::start() else { return };
    let url = server.database();
    if server.sql(&url, "SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'") != "0" {
        return;
    }
    let error = store(&url).check(4).await.expect_err("no pgvector");
    let text = shown(&error);
    assert!(
        text.contains("does not have the extension pgvector") && text.contains("postgresql-NN-pgvector"),
        "{text}"
    );
}
