//! Tests of what only the embedded store provides: full-text search, and durability of its file.

mod lexical;
mod upgrade;

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use serde_json::json;

use super::*;
use crate::model::{Fingerprint, GitSha, Metadata, Vector};
use crate::rank::{Ranked, Words, rank};
use crate::store::{SearchScope, Selection};

fn record(id: &str, vector: [f32; 2], text: &str) -> Record {
    Record {
        id: id.into(),
        vector: Vector::from(vector),
        metadata: Arc::new(Metadata {
            project: "p".into(),
            repository: "r".into(),
            file_path: "src/a.rs".into(),
            chunk_index: 0,
            text: text.into(),
            start_line: 1,
            end_line: 1,
            language: String::new(),
            blob_sha: GitSha([0; 20]),
            recipe: Fingerprint::of(["r"]),
            commit_sha: GitSha([0; 20]),
            url: String::new(),
            context: None,
            kind: None,
            name: None,
            attrs: Vec::new(),
            foreign: None,
        }),
    }
}

/// A search of project `p` in namespace `n`, by words and by vector.
fn about(text: &str, vector: [f32; 2]) -> Search {
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

async fn ranked(store: &SqliteStore, search: &Search) -> Vec<Ranked> {
    let found = store.search(search).await.expect("search");
    let words = search.words.clone().unwrap_or_else(|| Arc::new(Words::new("")));
    rank(&words, found, &store.weights(), false)
}

/// The ids of what a search finds, best first.
async fn ids(store: &SqliteStore, search: &Search) -> Vec<String> {
    ranked(store, search).await.into_iter().map(|one| one.candidate.id).collect()
}

/// The ids of what has a word, sorted.
async fn with_word(store: &SqliteStore, text: &str) -> Vec<String> {
    let mut ids = ids(store, &Search { vector: None, ..about(text, [0.0, 0.0]) }).await;
    ids.sort();
    ids
}

fn in_folder() -> (tempfile::TempDir, SqliteStore) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open("index", folder.path().join("index.db"));
    (folder, store)
}

#[tokio::test]
async fn words_and_vectors_rank_together() {
    let (_folder, store) = in_folder();
    let records = [
        record("near", [1.0, 0.0], "nothing of the kind"),
        record("both", [0.9, 0.1], "fn guardDeletions() { guarded(deletion) }"),
        record("wordy", [0.0, 1.0], "somebody is on guard"),
        record("far", [-1.0, 0.0], "unrelated"),
    ];
    store.upsert("n", &records).await.expect("upsert");
    let search = about("guarded deletion", [1.0, 0.0]);
    let found = ranked(&store, &search).await;
    assert_eq!(found[0].candidate.id, "both");
    assert_eq!(found.len(), 4);
    assert!((found[0].candidate.cosine.expect("compared") - 0.993_883).abs() < 1e-5);
    assert_eq!(with_word(&store, "guarded deletion").await, ["both", "wordy"]);
    // A text without words is ranked by vector alone, a zero vector by words alone.
    assert_eq!(ids(&store, &about("??", [1.0, 0.0])).await, ["near", "both", "wordy", "far"]);
    assert_eq!(ids(&store, &about("somebody", [0.0, 0.0])).await, ["wordy"]);
    // Filters apply to both rankings.
    let filter = Some(json!({"text": "unrelated"}));
    assert_eq!(ids(&store, &Search { filter, ..search.clone() }).await, ["far"]);
    let mut selection = Selection::default();
    selection.paths.add("!src/");
    assert_eq!(ids(&store, &Search { selection, ..search }).await, [""; 0]);
}

#[tokio::test]
async fn words_follow_their_record() {
    let (_folder, store) = in_folder();
    store
        .upsert("n", &[record("a", [1.0, 0.0], "alpha"), record("b", [1.0, 0.0], "alpha")])
        .await
        .expect("upsert");
    store.upsert("other", &[record("c", [1.0, 0.0], "alpha")]).await.expect("upsert");
    assert_eq!(with_word(&store, "alpha").await, ["a", "b"]);
    store.upsert("n", &[record("a", [1.0, 0.0], "beta")]).await.expect("upsert");
    assert_eq!(with_word(&store, "alpha").await, ["b"]);
    assert_eq!(with_word(&store, "beta").await, ["a"]);
    store.delete("n", &["a".into(), "b".into()]).await.expect("delete");
    assert_eq!(with_word(&store, "alpha beta").await, [""; 0]);
    check_words(&store);
}

#[tokio::test]
async fn words_of_every_script_are_found() {
    let (_folder, store) = in_folder();
    let texts = [
        ("ja", "全文検索の索引を作る"),
        ("zh", "数据库连接池的大小"),
        ("th", "การค้นหาข้อความ"),
        ("ko", "검색을 위한 색인"),
        ("full", "ＦＵＬＬ　ＷＩＤＴＨ"),
        ("zero", "pass\u{200b}word"),
        ("accent", "Übergrößenträger"),
        ("hindi", "हिन्दी में खोज"),
    ];
    let records: Vec<Record> = texts.iter().map(|(id, text)| record(id, [1.0, 0.0], text)).collect();
    store.upsert("n", &records).await.expect("upsert");
    for (text, id) in [
        ("検索", "ja"),
        ("索引", "ja"),
        ("索", "ja"),
        ("る", "ja"),
        ("连接池", "zh"),
        ("小", "zh"),
        ("ค้นหา", "th"),
        ("검색", "ko"),
        ("full width", "full"),
        ("ｆｕｌｌ", "full"),
        ("password", "zero"),
        ("pass\u{200b}word", "zero"),
        ("ubergroßentrager", "accent"),
        ("हिन्दी", "hindi"),
        ("खोज", "hindi"),
    ] {
        assert!(with_word(&store, text).await.contains(&id.to_owned()), "{text}");
    }
    assert_eq!(with_word(&store, "検閲").await, [""; 0]);
    let all: Vec<String> = records.into_iter().map(|record| record.id).collect();
    store.delete("n", &all).await.expect("delete");
    check_words(&store);
}

/// The full-text index agrees with itself: every removed word was one that had been added.
fn check_words(store: &SqliteStore) {
    let check = store.database.write(|transaction| {
        transaction.execute("INSERT INTO words (words) VALUES ('integrity-check')", [])?;
        Ok(())
    });
    check.expect("an intact index");
}

fn count(store: &SqliteStore, sql: &str) -> i64 {
    let counted = store.database.read(|transaction| Ok(transaction.query_row(sql, [], |row| row.get(0))?));
    counted.expect("read").expect("a file")
}

#[tokio::test]
async fn files_are_numbered_and_counted() {
    let (_folder, store) = in_folder();
    let of = |id: &str, path: &str| {
        let mut one = record(id, [1.0, 0.0], "text");
        Arc::make_mut(&mut one.metadata).file_path = path.into();
        one
    };
    store.upsert("n", &[of("a1", "a"), of("a2", "a"), of("b1", "b")]).await.expect("upsert");
    assert_eq!(count(&store, "SELECT count(*) FROM files"), 2);
    assert_eq!(count(&store, "SELECT chunks FROM files WHERE path = 'a'"), 2);
    // A record that moves to another file takes its count along.
    store.upsert("n", &[of("a1", "b")]).await.expect("upsert");
    assert_eq!(count(&store, "SELECT chunks FROM files WHERE path = 'b'"), 2);
    store.delete("n", &["a2".into()]).await.expect("delete");
    assert_eq!(count(&store, "SELECT count(*) FROM files WHERE path = 'a'"), 0);
    assert_eq!(count(&store, "SELECT records FROM namespaces"), 2);
}

#[tokio::test]
async fn a_file_is_measured_by_its_three_best_chunks() {
    let (_folder, store) = in_folder();
    let of = |id: &str, path: &str, vector| {
        let mut one = record(id, vector, "text");
        Arc::make_mut(&mut one.metadata).file_path = path.into();
        one
    };
    let records = [
        of("1", "a", [1.0, 0.0]),
        of("2", "a", [0.6, 0.8]),
        of("3", "a", [0.0, 1.0]),
        of("4", "a", [-1.0, 0.0]),
        of("5", "b", [0.6, 0.8]),
    ];
    store.upsert("n", &records).await.expect("upsert");
    let found = store.search(&about("none", [1.0, 0.0])).await.expect("search");
    let file =
        |id: &str| found.list.iter().find(|one| one.id == id).and_then(|one| one.file_cosine).expect(id);
    assert!((file("4") - 1.6 / 3.0).abs() < 1e-6);
    assert!((file("5") - 0.6 * (1.0 + 0.8 + 0.64) / 3.0).abs() < 1e-6);
    let files = found.scale.files.expect("measured");
    assert!((files.max - file("4")).abs() < 1e-6);
    assert_eq!((files.count, found.scale.chunks.expect("measured").count), (2, 5));
}

/// Only facts differ: neither vector nor words are written.
#[tokio::test]
async fn moved_lines_write_facts_alone() {
    let (_folder, store) = in_folder();
    let all: Vec<Record> = (0..50).map(|n| record(&format!("{n}"), [1.0, n as f32], "some words")).collect();
    store.upsert("n", &all).await.expect("upsert");
    let changes = |store: &SqliteStore| count(store, "SELECT count(*) FROM words_data");
    let before = changes(&store);
    let moved: Vec<Record> = all
        .iter()
        .cloned()
        .map(|mut one| {
            Arc::make_mut(&mut one.metadata).start_line += 7;
            one
        })
        .collect();
    store.upsert("n", &moved).await.expect("upsert");
    assert_eq!(changes(&store), before, "no segment of words was added");
    let stored = store.fetch("n", &["3".into()]).await.expect("fetch").remove(0);
    assert_eq!(stored.metadata["start_line"], 8);
    assert_eq!(with_word(&store, "words").await.len(), 50);
}

/// Codes find exactly what a scan of all vectors finds, whatever was written in between.
#[tokio::test]
async fn codes_find_the_same_as_vectors() {
    let folder = tempfile::tempdir().expect("a folder");
    let large = Large { above: 300, below: 200 };
    let coded = SqliteStore::open_with("index".into(), folder.path().join("coded.db"), large);
    let plain = SqliteStore::open("index", folder.path().join("plain.db"));
    let mut seed = 7u32;
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut vector = |n: usize| -> Vector { (0..n).map(|_| next()).collect() };
    let make = |id: usize, vector: Vector| {
        let mut one = record(&format!("{id:04}"), [1.0, 0.0], "text");
        one.vector = vector;
        Arc::make_mut(&mut one.metadata).file_path = format!("{}", id % 40);
        one
    };
    let all: Vec<Record> = (0..500).map(|id| make(id, vector(48))).collect();
    let again: Vec<Record> = (100..160).map(|id| make(id, vector(48))).collect();
    let gone: Vec<String> = (200..260).map(|id| format!("{id:04}")).collect();
    for store in [&coded, &plain] {
        for batch in all.chunks(90) {
            store.upsert("n", batch).await.expect("upsert");
        }
        store.upsert("n", &again).await.expect("upsert");
        store.delete("n", &gone).await.expect("delete");
    }
    assert!(count(&coded, "SELECT count(*) FROM codes") > 0);
    assert_eq!(count(&plain, "SELECT count(*) FROM codes"), 0);
    for _ in 0..20 {
        let asked = vector(48);
        let query = Query { vector: asked.clone(), top_k: 30, filter: None };
        let of = async |store: &SqliteStore| -> Vec<(String, f64)> {
            let matches = store.query("n", &query).await.expect("query");
            matches.into_iter().map(|one| (one.id, one.score)).collect()
        };
        assert_eq!(of(&coded).await, of(&plain).await);
        let search = Search { vector: Some(asked), depth: 20, ..about("none", [0.0, 0.0]) };
        let (a, b) =
            (coded.search(&search).await.expect("search"), plain.search(&search).await.expect("search"));
        let mean = |scale: crate::rank::Scale| scale.chunks.expect("compared").mean;
        assert!((mean(a.scale) - mean(b.scale)).abs() < 0.01, "the mean may come from the codes");
    }
    let most: Vec<String> = (0..400).map(|id| format!("{id:04}")).collect();
    coded.delete("n", &most).await.expect("delete");
    assert_eq!(count(&coded, "SELECT count(*) FROM codes"), 0, "a small namespace needs none");
}

#[tokio::test]
async fn a_symbol_is_found_by_its_name() {
    let (_folder, store) = in_folder();
    let of = |id: &str, name: &str| {
        let mut one = record(id, [-1.0, 0.0], "other text");
        let metadata = Arc::make_mut(&mut one.metadata);
        (metadata.name, metadata.kind) = (Some(name.into()), Some("function".into()));
        one
    };
    let mut records: Vec<Record> = (0..150).map(|n| record(&format!("r{n}"), [1.0, 0.0], "filler")).collect();
    records.extend([of("a", "Guard::parseHeader"), of("b", "parse_header"), of("c", "parseHeaders")]);
    store.upsert("n", &records).await.expect("upsert");
    let search = |symbol: &str| Search { symbol: Some(symbol.into()), depth: 10, ..about("xyz", [1.0, 0.0]) };
    let found = ids(&store, &search("parseHeader")).await;
    assert!(found.contains(&"a".into()) && !found.contains(&"b".into()) && !found.contains(&"c".into()));
    assert!(ids(&store, &search("\"' OR *")).await.len() == 10, "FTS5 syntax is not understood");
}

#[tokio::test]
async fn an_emptied_file_takes_another_dimension() {
    let (_folder, store) = in_folder();
    store.upsert("n", &[record("a", [1.0, 0.0], "a")]).await.expect("upsert");
    let error = store.check(3).await.expect_err("two, not three");
    assert!(error.message.ends_with("holds vectors of 2 components, the embedder makes 3"), "{error}");
    assert!(error.hint.expect("a way out").contains("another `path`"));
    store.delete("n", &["a".into()]).await.expect("delete");
    store.check(3).await.expect("nothing is left that differs");
}

#[tokio::test]
async fn vectors_without_a_direction_are_not_written() {
    let (_folder, store) = in_folder();
    let records = [record("good", [1.0, 0.0], "a"), record("zero", [0.0, 0.0], "b")];
    let error = store.upsert("n", &records).await.expect_err("a zero vector");
    assert!(error.message.contains("`zero`"), "{error}");
    assert_eq!(store.describe().await.expect("describe").namespaces.len(), 0, "the batch is one transaction");
}

#[tokio::test]
async fn reading_creates_nothing() {
    let (folder, store) = in_folder();
    assert!(ids(&store, &about("a", [1.0, 0.0])).await.is_empty());
    assert_eq!(store.describe().await.expect("describe").dimension, None);
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

async fn problem(prepare: impl FnOnce(&Path)) -> (ErrorKind, String) {
    let (folder, store) = in_folder();
    let path = folder.path().join("index.db");
    prepare(&path);
    let before = std::fs::read(&path).unwrap_or_default();
    let error = store.check(2).await.expect_err("a bad file");
    let read = store.describe().await.expect_err("a bad file");
    assert_eq!(read.message, error.message);
    assert!(std::fs::read(&path).unwrap_or_default() == before, "it is left as it was");
    let hint = error.hint.expect("a hint");
    let folder = folder.path().canonicalize().expect("a folder");
    (error.kind, format!("{}\n{hint}", error.message).replace(&*folder.to_string_lossy(), "FOLDER"))
}

#[tokio::test]
async fn a_file_that_is_not_ours_is_named_and_left_alone() {
    let (kind, shown) = problem(|path| {
        std::fs::write(path, "this is not a database, but long enough to look like one ".repeat(40))
            .expect("write");
    })
    .await;
    assert_eq!(kind, ErrorKind::Local);
    insta::assert_snapshot!(shown, @r"
    `FOLDER/index.db` is damaged or not a database
    move the file away and run `reposync verify --repair`: it is rebuilt from the vector cache
    ");

    let (kind, shown) = problem(|path| {
        let other = Connection::open(path).expect("open");
        other.execute_batch("CREATE TABLE theirs (a)").expect("create");
    })
    .await;
    assert_eq!(kind, ErrorKind::Misconfigured);
    insta::assert_snapshot!(shown, @r"
    `FOLDER/index.db` is not a RepoSync index
    set another `path`; this file belongs to another program and is left as it is
    ");

    let (kind, shown) = problem(|path| std::fs::create_dir(path).expect("create")).await;
    assert_eq!(kind, ErrorKind::Local);
    insta::assert_snapshot!(shown, @r"
    cannot open `FOLDER/index.db`
    check that it is a file and its permissions, or set another `path`
    ");
}

#[tokio::test]
async fn a_newer_file_is_refused() {
    let (folder, store) = in_folder();
    store.check(2).await.expect("create");
    let path = folder.path().join("index.db");
    Connection::open(&path).expect("open").pragma_update(None, "user_version", 7).expect("update");
    let error = SqliteStore::open("index", &path).check(2).await.expect_err("newer");
    assert_eq!(error.kind, ErrorKind::Misconfigured);
    assert!(error.message.contains("newer RepoSync (format 7; this one knows 2)"), "{error}");
}

#[tokio::test]
async fn a_full_disk_loses_nothing() {
    let (_folder, store) = in_folder();
    store.upsert("n", &[record("a", [1.0, 0.0], "kept")]).await.expect("upsert");
    // Limits the database to its current number of pages.
    {
        let writer = store.database.write(|transaction| {
            let pages: i64 = transaction.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            transaction
                .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get::<_, i64>(0))?;
            Ok(())
        });
        writer.expect("bounded");
    }
    let large: Vec<_> =
        (0..100).map(|n| record(&format!("b{n}"), [1.0, 0.0], &"word ".repeat(500))).collect();
    let error = store.upsert("n", &large).await.expect_err("full");
    assert_eq!(error.kind, ErrorKind::Local);
    assert!(error.message.starts_with("no space left"), "{error}");
    // The next attempt uses a new connection without that limit; earlier records are intact.
    assert_eq!(store.describe().await.expect("describe").namespaces["n"], 1);
    store.upsert("n", &large).await.expect("space again");
}

#[tokio::test]
async fn a_crash_at_any_moment_leaves_whole_batches() {
    const BATCH: u64 = 10;
    let (folder, store) = in_folder();
    for batch in 0..5 {
        let records: Vec<_> =
            (0..BATCH).map(|n| record(&format!("{batch}-{n}"), [1.0, 0.5], "word")).collect();
        store.upsert("n", &records).await.expect("upsert");
    }
    let read = |name: &str| std::fs::read(folder.path().join(name)).expect("a file");
    let (file, log) = (read("index.db"), read("index.db-wal"));
    let mut seen = std::collections::BTreeSet::new();
    for cut in (0..=log.len()).step_by(log.len() / 40).chain([log.len()]) {
        let after = tempfile::tempdir().expect("a folder");
        std::fs::write(after.path().join("index.db"), &file).expect("write");
        std::fs::write(after.path().join("index.db-wal"), &log[..cut]).expect("write");
        let store = SqliteStore::open("index", after.path().join("index.db"));
        let count = store.describe().await.expect("describe").namespaces.get("n").copied().unwrap_or(0);
        assert_eq!(count % BATCH, 0, "cut at {cut}");
        assert_eq!(with_word(&store, "word").await.len() as u64, count, "cut at {cut}");
        let by_vector = Search { words: None, ..about("", [1.0, 0.0]) };
        assert_eq!(ids(&store, &by_vector).await.len() as u64, count, "cut at {cut}");
        store.upsert("n", &[record("next", [1.0, 0.0], "word")]).await.expect("it goes on");
        seen.insert(count);
    }
    assert!(seen.contains(&0) && seen.contains(&50) && seen.len() > 3, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_may_write_at_once() {
    let (folder, one) = in_folder();
    let two = SqliteStore::open("index", folder.path().join("index.db"));
    let work = (0..20).map(|n| {
        let store = if n % 2 == 0 { one.clone() } else { two.clone() };
        async move { store.upsert("n", &[record(&format!("{n:02}"), [1.0, 0.0], "a")]).await }
    });
    futures::future::try_join_all(work).await.expect("all written");
    assert_eq!(one.describe().await.expect("describe").namespaces["n"], 20);
}

/// Redacted or removed text must not be recoverable from the file.
#[tokio::test]
async fn deleted_text_is_overwritten() {
    let (folder, store) = in_folder();
    let secret = "the text that was taken back ".repeat(400);
    store
        .upsert("n", &[record("gone", [1.0, 0.0], &secret), record("kept", [0.0, 1.0], "kept")])
        .await
        .expect("in");
    store.delete("n", &["gone".to_owned()]).await.expect("out");
    drop(store);
    let path = folder.path().join("index.db");
    let checkpoint = Connection::open(&path).expect("opened");
    checkpoint.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("checkpoint");
    let bytes = std::fs::read(&path).expect("the file");
    assert!(!bytes.windows(19).any(|window| window == b"text that was taken"));
}

/// Neither can words of a removed text be read from the full-text index. (FTS5 keeps the first word
/// of a page of its index as a separator until the page is rewritten; these words fit one page.)
#[tokio::test]
async fn deleted_words_are_overwritten() {
    let (folder, store) = in_folder();
    let words =
        |from: usize| (from..from + 60).map(|n| format!("secretword{n}x")).collect::<Vec<_>>().join(" ");
    let kept = record("kept", [0.0, 1.0], "keptword");
    let records = [record("gone", [1.0, 0.0], &words(0)), record("redacted", [1.0, 0.0], &words(1000)), kept];
    store.upsert("n", &records).await.expect("in");
    store.upsert("n", &[record("redacted", [1.0, 0.0], "nothing")]).await.expect("redacted");
    store.delete("n", &["gone".to_owned()]).await.expect("out");
    assert_eq!(with_word(&store, "keptword").await, ["kept"]);
    check_words(&store);
    drop(store);
    let path = folder.path().join("index.db");
    let checkpoint = Connection::open(&path).expect("opened");
    checkpoint.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("checkpoint");
    let bytes = std::fs::read(&path).expect("the file");
    let has = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
    assert!(has(b"keptword"), "words stand in the file as they are");
    assert!(!has(b"secretword"));
}

#[tokio::test]
async fn no_temporary_files_are_needed() {
    let (_folder, store) = in_folder();
    store.check(2).await.expect("create");
    let memory = 2;
    assert_eq!(count(&store, "PRAGMA temp_store"), memory);
    let writer = store
        .database
        .write(|transaction| Ok(transaction.query_row("PRAGMA temp_store", [], |row| row.get::<_, i64>(0))?));
    assert_eq!(writer.expect("read"), memory);
}
