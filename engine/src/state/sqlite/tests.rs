//! The state and the vector cache in SQLite files: the suites, and what concerns the files alone.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::model::{ByteSize, Fingerprint, GitSha, Place};
use crate::state::conformance::{World, cache_cases, state_cases};
use crate::state::{
    CacheKey, Claim, Claimant, FileKey, FileRow, FileStatus, Files as _, ProjectRow, Projects as _, State,
    StoredChunk, VectorCache,
};

/// A ledger in a temporary folder.
fn ledger() -> World<dyn State> {
    let folder = tempfile::tempdir().expect("a folder");
    World::new(move || -> Arc<dyn State> {
        Arc::new(SqliteState::open(&folder.path().join("state.db")).expect("opened"))
    })
}

/// A cache in a temporary folder.
fn cache() -> World<dyn VectorCache> {
    let folder = tempfile::tempdir().expect("a folder");
    World::new(move || -> Arc<dyn VectorCache> {
        Arc::new(SqliteVectorCache::open(folder.path(), ByteSize::mib(64)))
    })
}

mod state {
    use super::{ledger, state_cases};

    state_cases!(Some(ledger()));
}

mod vectors {
    use super::{cache, cache_cases};

    cache_cases!(Some(cache()));
}

#[test]
fn a_newer_or_foreign_file_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("state.db");
    drop(SqliteState::open(&path).expect("created"));
    let conn = rusqlite::Connection::open(&path).expect("open");
    conn.pragma_update(None, "user_version", 99).expect("pragma");
    drop(conn);
    let error = SqliteState::open(&path).expect_err("newer");
    assert!(error.message.contains("newer RepoSync (ledger version 99"), "{}", error.message);

    let foreign = dir.path().join("foreign.db");
    rusqlite::Connection::open(&foreign).expect("open").execute_batch("CREATE TABLE t (x)").expect("table");
    let before = std::fs::read(&foreign).expect("bytes");
    let error = SqliteState::open(&foreign).expect_err("foreign");
    assert_eq!(std::fs::read(&foreign).expect("bytes"), before);
    assert!(error.message.contains("not a ledger"), "{}", error.message);

    let damaged = dir.path().join("damaged.db");
    std::fs::write(&damaged, vec![7u8; 8192]).expect("write");
    let error = SqliteState::open(&damaged).expect_err("damaged");
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("damaged")), "{error:?}");
    assert_eq!(std::fs::read(&damaged).expect("read"), vec![7u8; 8192]);
}

#[test]
fn a_second_opening_changes_nothing() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("folder/state.db");
    drop(SqliteState::open(&path).expect("created"));
    let before = std::fs::read(&path).expect("bytes");
    drop(SqliteState::open(&path).expect("opened"));
    assert_eq!(std::fs::read(&path).expect("bytes"), before);
}

#[tokio::test]
async fn a_ledger_that_is_not_there_yet_is_read_as_an_empty_one() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("state.db");
    let reader = SqliteState::open_read_only(&path).expect("opened");
    assert!(reader.projects().await.expect("read").is_empty());
    let lock = RunLock::take(&path).expect("free");
    assert!(reader.holder().await.expect("read").is_some(), "the first run is under way");
    drop(lock);
    assert!(!path.exists());
}

#[tokio::test]
async fn the_originals_tables_are_views_with_its_columns_and_text_ids() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("state.db");
    let ledger = SqliteState::open(&path).expect("created");
    let fence = ledger.lease(&[]).await.expect("asked").expect("free").fence();
    let place = Place { kind: "k".into(), host: "h".into(), index: String::new(), namespace: "n".into() };
    let project = ProjectRow {
        name: "docs".into(),
        organization: Some("acme".into()),
        filter_keyword: None,
        namespace: "n".into(),
        enabled: true,
        allowed_extensions: Some(vec![".md".into()]),
        exclude_patterns: Vec::new(),
    };
    let row = FileRow {
        file: FileKey::new("acme/docs", "a.md"),
        commit: GitSha([1; 20]),
        blob_sha: GitSha([2; 20]),
        recipe: Fingerprint::of(["recipe"]),
        status: FileStatus::Synced,
        detail: None,
        chunks: vec![StoredChunk { id: "1".into(), fingerprint: Fingerprint::of(["1"]) }],
    };
    let now = chrono::Utc::now();
    ledger.enter_project(fence, &project, &place, &Fingerprint::of(["recipe"]), now).await.expect("entered");
    ledger.commit_files(fence, "docs", &place, vec![row], now).await.expect("recorded");
    let conn = rusqlite::Connection::open(&path).expect("opened");
    let columns = |view: &str| -> Vec<String> {
        let select = conn.prepare(&format!("SELECT * FROM {view}")).expect("a view");
        select.column_names().map(str::to_owned).collect()
    };
    let names = "id name organization filter_keyword namespace enabled allowed_extensions exclude_patterns created_at \
                 updated_at";
    assert_eq!(columns("projects").join(" "), names);
    let names = "project_id repository file_path last_commit_sha last_synced_at embedding_count status";
    assert_eq!(columns("sync_metadata").join(" "), names);
    let sql = "SELECT typeof(id), organization, allowed_extensions, file_path, last_commit_sha, embedding_count, status
               FROM sync_metadata JOIN projects ON projects.id = project_id WHERE project_id = 'docs'";
    let found: (String, String, String, String, String, u64, String) = conn
        .query_row(sql, [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?))
        })
        .expect("the file");
    let text = |text: &str| text.to_owned();
    let commit = GitSha([1; 20]).to_string();
    let expected = (text("text"), text("acme"), text("[\".md\"]"), text("a.md"), commit, 1, text("synced"));
    assert_eq!(found, expected);
}

#[tokio::test(start_paused = true)]
async fn a_claim_of_a_claimant_that_is_gone_lapses() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = SqliteVectorCache::open(folder.path(), ByteSize::mib(64));
    let keys = || vec![CacheKey::of(&Fingerprint::of(["test"]), "text")];
    assert_eq!(cache.claim_many(Claimant(1), keys()).await, [Claim::Given]);
    tokio::time::advance(Duration::from_secs(599)).await;
    assert_eq!(cache.claim_many(Claimant(2), keys()).await, [Claim::Taken]);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(cache.claim_many(Claimant(2), keys()).await, [Claim::Given]);
    // The former claimant comes back too late to give up the claim of its successor.
    cache.release_many(Claimant(1), keys()).await;
    assert_eq!(cache.claim_many(Claimant(3), keys()).await, [Claim::Taken]);
}
