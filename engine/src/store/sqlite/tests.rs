//! Tests of what only the embedded store provides: full-text search, and durability of its file.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use serde_json::json;

use super::*;
use crate::model::{Fingerprint, GitSha, Metadata, Vector};

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

fn about(text: &str, vector: [f32; 2]) -> Query {
    Query { vector: Vector::from(vector), text: Some(text.into()), top_k: 10, filter: None }
}

async fn ids(store: &SqliteStore, query: &Query) -> Vec<String> {
    store.query("n", query).await.expect("query").into_iter().map(|one| one.id).collect()
}

fn in_folder() -> (tempfile::TempDir, SqliteStore) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open("index", folder.path().join("index.db"));
    (folder, store)
}

#[tokio::test]
async fn words_and_vectors_are_fused() {
    let (_folder, store) = in_folder();
    let records = [
        record("near", [1.0, 0.0], "nothing of the kind"),
        record("both", [0.9, 0.1], "fn guardDeletions() { guarded(deletion) }"),
        record("wordy", [0.0, 1.0], "somebody is on guard"),
        record("far", [-1.0, 0.0], "unrelated"),
    ];
    store.upsert("n", &records).await.expect("upsert");
    let query = about("guarded deletion", [1.0, 0.0]);
    assert_eq!(ids(&store, &query).await[0], "both");
    let best = &store.query("n", &query).await.expect("query")[0];
    assert!(best.score < 1.0 && best.score > 0.9, "{}", best.score);

    let words_alone = store.clone().weigh(0.0, 1.0);
    assert_eq!(ids(&words_alone, &query).await, ["both", "wordy"]);
    let vectors_alone = store.clone().weigh(1.0, 0.0);
    assert_eq!(ids(&vectors_alone, &query).await, ["near", "both", "wordy", "far"]);
    // A text without words is ranked by vector alone, a zero vector by words alone.
    assert_eq!(ids(&store, &about("??", [1.0, 0.0])).await, ["near", "both", "wordy", "far"]);
    assert_eq!(ids(&store, &about("somebody", [0.0, 0.0])).await, ["wordy"]);
    // Filters apply to both rankings.
    let filter = Some(json!({"text": "unrelated"}));
    assert_eq!(ids(&store, &Query { filter, ..query }).await, ["far"]);
}

#[tokio::test]
async fn words_follow_their_record() {
    let (_folder, store) = in_folder();
    let words = |text| about(text, [0.0, 0.0]);
    store
        .upsert("n", &[record("a", [1.0, 0.0], "alpha"), record("b", [1.0, 0.0], "alpha")])
        .await
        .expect("upsert");
    store.upsert("other", &[record("c", [1.0, 0.0], "alpha")]).await.expect("upsert");
    assert_eq!(ids(&store, &words("alpha")).await, ["a", "b"]);
    store.upsert("n", &[record("a", [1.0, 0.0], "beta")]).await.expect("upsert");
    assert_eq!(ids(&store, &words("alpha")).await, ["b"]);
    assert_eq!(ids(&store, &words("beta")).await, ["a"]);
    store.delete("n", &["a".into(), "b".into()]).await.expect("delete");
    assert_eq!(ids(&store, &words("alpha beta")).await, [""; 0]);
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
    assert!(error.message.contains("newer RepoSync (format 7; this one knows 1)"), "{error}");
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
        let by_words = Query { top_k: 100, ..about("word", [0.0, 0.0]) };
        assert_eq!(ids(&store, &by_words).await.len() as u64, count, "cut at {cut}");
        let by_vector = Query { vector: Vector::from([1.0, 0.0]), text: None, ..by_words };
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
