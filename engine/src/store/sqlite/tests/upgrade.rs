//! The upgrade of an index that RepoSync 0.1 wrote.

use super::*;

/// An index that RepoSync 0.1 wrote, in a temporary folder.
fn of_version_1() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("index.db");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/0.1/index.db");
    std::fs::copy(fixture, &path).expect("copied");
    (folder, path)
}

/// What an index holds, and a question that it answers.
fn held(path: &Path) -> (Vec<(String, i64)>, SearchScope, Vector) {
    let index = Connection::open(path).expect("open");
    let mut select = index
        .prepare("SELECT name, count(*) FROM records JOIN namespaces ON number = namespace GROUP BY name ORDER BY 2 DESC")
        .expect("tables");
    let counts = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
    let counts: Vec<(String, i64)> = counts.collect::<Result<_, _>>().expect("rows");
    let namespace = counts[0].0.clone();
    let (facts, vector): (String, Vec<u8>) = index
        .query_row(
            "SELECT facts, vector FROM records JOIN vectors ON vectors.row = records.row
             JOIN namespaces ON number = namespace WHERE name = ?1",
            [&namespace],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .expect("a record");
    let facts: serde_json::Value = serde_json::from_str(&facts).expect("JSON");
    let project = facts["project"].as_str().expect("a project").to_owned();
    (counts, SearchScope { namespace, project }, vector::decode(&vector))
}

#[tokio::test]
async fn an_index_of_version_1_is_upgraded_when_it_is_searched() {
    let (_folder, path) = of_version_1();
    let (before, scope, vector) = held(&path);
    let store = SqliteStore::open("index", &path);
    let search = Search { scopes: vec![scope], vector: Some(vector), ..about("install", [0.0, 0.0]) };
    let found = store.search(&search).await.expect("search");
    assert!(found.notes.is_empty(), "{:?}", found.notes);
    assert!(found.list.iter().any(|one| one.bm25 > 0.0) && found.scale.files.is_some());
    assert_eq!(held(&path).0, before);
    check_words(&store);
    let all: Vec<String> = found.list.iter().map(|one| one.id.clone()).collect();
    store.delete(&search.scopes[0].namespace, &all).await.expect("delete");
    check_words(&store);
}

#[tokio::test]
async fn a_full_disk_in_mid_upgrade_leaves_the_old_index() {
    let (_folder, path) = of_version_1();
    let (before, ..) = held(&path);
    let mut index = Connection::open(&path).expect("open");
    let pages: i64 = index.query_row("PRAGMA page_count", [], |row| row.get(0)).expect("a count");
    index
        .query_row(&format!("PRAGMA max_page_count = {}", pages + 2), [], |row| row.get::<_, i64>(0))
        .expect("bounded");
    let transaction = index.transaction().expect("begin");
    let error = schema::upgrade(&transaction, Large::default()).expect_err("full");
    assert!(format!("{error:?}").contains("DiskFull"), "{error:?}");
    drop(transaction);
    drop(index);
    assert_eq!(held(&path).0, before);
    let index = Connection::open(&path).expect("open");
    let version: i64 = index.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version");
    let words: i64 = index
        .query_row("SELECT count(*) FROM words WHERE words MATCH 'install'", [], |row| row.get(0))
        .expect("the old words");
    assert_eq!((version, words > 0), (1, true));
    drop(index);
    // With space again, it is upgraded.
    SqliteStore::open("index", &path).check(256).await.expect("upgraded");
    assert_eq!(held(&path).0, before);
}

/// Texts are read by file, which version 1 has no list of.
#[tokio::test]
async fn texts_of_version_1_are_read_after_its_upgrade() {
    let (_folder, path) = of_version_1();
    let (before, scope, _) = held(&path);
    let passed = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = std::sync::Arc::clone(&passed);
    let visit = Box::new(move |file: crate::store::FileTexts| {
        sink.lock().expect("whole").push(file);
        std::ops::ControlFlow::Continue(())
    });
    let store = SqliteStore::open("index", &path);
    assert!(store.texts(&[scope], &Selection::default(), visit).await.expect("read"));
    let files = passed.lock().expect("whole");
    let read: usize = files.iter().map(|file| file.chunks.len()).sum();
    assert_eq!(i64::try_from(read).expect("few"), before[0].1);
    assert!(files.iter().flat_map(|file| &file.chunks).all(|chunk| !chunk.text.is_empty()));
    assert!(files.is_sorted_by_key(|file| (file.repository.clone(), file.path.clone())));
    let failed = failed_upgrade("index", "it is read-only");
    assert!(matches!(failed, Failed::Stage(error) if error.message.contains("it is read-only")));
}

/// An index of version 1 that cannot be written is searched by vector, and that is said.
#[tokio::test]
async fn an_index_of_version_1_that_cannot_be_written_is_searched_by_vector() {
    let (_folder, path) = of_version_1();
    let (before, scope, vector) = held(&path);
    let store = SqliteStore::open("index", &path);
    let connection = Connection::open(&path).expect("open");
    let selection = Selection::default();
    let selector = selection.selector("index").expect("no glob");
    let search =
        Search { scopes: vec![scope], vector: Some(vector), selection, ..about("install", [0.0, 0.0]) };
    let filter = Filter::of("index", None).expect("no filter");
    let mut connection = connection;
    let transaction = connection.transaction().expect("begin");
    let found = candidates::search(
        &store.database,
        &transaction,
        &search,
        &selector,
        &filter,
        Some("it is read-only"),
    )
    .expect("searched");
    assert!(!found.list.is_empty() && found.list.iter().all(|one| one.bm25 == 0.0 && one.cosine.is_some()));
    assert!(found.notes[0].contains("it is read-only") && found.notes[0].contains("words are not searched"));
    drop(transaction);
    assert_eq!(held(&path).0, before);
}
