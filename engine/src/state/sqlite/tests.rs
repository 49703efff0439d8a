//! The ledger's promises, one by one.

use chrono::Utc;

use super::*;
use crate::model::{Fingerprint, GitSha, Place};
use crate::state::{AdoptedRecord, FileKey, FileRow, FileStatus, Leftover, ProjectRow, StoredChunk};

fn place(ledger: &SqliteState, namespace: &str) -> i64 {
    let place =
        Place { kind: "k".into(), host: "h".into(), index: String::new(), namespace: namespace.into() };
    ledger.place_id(&place).expect("place")
}

fn project(ledger: &SqliteState) -> i64 {
    let row = ProjectRow {
        name: "p".into(),
        organization: None,
        filter_keyword: None,
        namespace: "n".into(),
        enabled: true,
        allowed_extensions: None,
        exclude_patterns: Vec::new(),
    };
    ledger.put_project(&row, Utc::now()).expect("project")
}

fn row(path: &str, ids: &[&str]) -> FileRow {
    FileRow {
        repository: "r".into(),
        path: path.into(),
        commit: GitSha([1; 20]),
        blob_sha: GitSha([2; 20]),
        recipe: Fingerprint::of(["recipe"]),
        status: FileStatus::Synced,
        detail: None,
        chunks: ids
            .iter()
            .map(|id| StoredChunk { id: (*id).into(), fingerprint: Fingerprint::of([id]) })
            .collect(),
    }
}

const FILE: FileKey<'static> = FileKey { repository: "r", path: "a.md" };

#[test]
fn intents_stay_open_until_the_file_is_recorded() {
    let ledger = SqliteState::in_memory().expect("ledger");
    let (project, place) = (project(&ledger), place(&ledger, "n"));
    ledger.open_intents("p", place, [(FILE, vec!["1", "2"])]).expect("intents");
    assert_eq!(ledger.unfinished_files("p", "r").expect("read").into_iter().collect::<Vec<_>>(), ["a.md"]);
    let held = ledger.held_ids((project, "p"), place, &FILE).expect("held");
    assert!(held.chunks.is_empty());
    assert_eq!(held.open.len(), 2);

    ledger.commit_files((project, "p"), place, &[row("a.md", &["1", "2"])], Utc::now()).expect("commit");
    assert!(ledger.unfinished_files("p", "r").expect("read").is_empty());
    let held = ledger.held_ids((project, "p"), place, &FILE).expect("held");
    assert_eq!((held.chunks.len(), held.open.len()), (2, 0));
    assert_eq!(ledger.vector_count(project).expect("count"), 2);
}

#[test]
fn a_file_that_moves_leaves_its_ids_behind_until_they_are_deleted() {
    let ledger = SqliteState::in_memory().expect("ledger");
    let (project, old, new) = (project(&ledger), place(&ledger, "old"), place(&ledger, "new"));
    ledger.commit_files((project, "p"), old, &[row("a.md", &["1"])], Utc::now()).expect("commit");
    ledger.commit_files((project, "p"), new, &[row("a.md", &["1"])], Utc::now()).expect("commit");
    let leftovers = ledger.leftovers("p").expect("read");
    assert_eq!(leftovers, [Leftover { place: old, id: "1".into() }]);

    // Back before anything was deleted: nothing may be deleted then.
    ledger.commit_files((project, "p"), old, &[row("a.md", &["1"])], Utc::now()).expect("commit");
    assert_eq!(ledger.leftovers("p").expect("read"), [Leftover { place: new, id: "1".into() }]);
    ledger.close_leftovers(&[Leftover { place: new, id: "1".into() }]).expect("close");
    assert!(ledger.leftovers("p").expect("read").is_empty());
}

#[test]
fn a_failure_keeps_what_the_index_holds() {
    let ledger = SqliteState::in_memory().expect("ledger");
    let (project, place) = (project(&ledger), place(&ledger, "n"));
    ledger.commit_files((project, "p"), place, &[row("a.md", &["1"])], Utc::now()).expect("commit");
    ledger.record_failure(project, "r", "a.md", "refused").expect("failure");
    ledger.record_failure(project, "r", "b.md", "refused").expect("failure");
    let known = ledger.known_files(project, "r").expect("read");
    assert_eq!(known[0].blob_sha, Some(GitSha([2; 20])));
    assert_eq!((known[0].status, known[0].vectors), (FileStatus::Failed, 1));
    assert_eq!((known[1].blob_sha, known[1].vectors), (None, 0));
    assert!(ledger.has_unsettled_files((project, "p"), "r").expect("read"));
}

#[test]
fn adoption_is_whole_and_happens_once() {
    let ledger = SqliteState::in_memory().expect("ledger");
    let (project, place) = (project(&ledger), place(&ledger, "n"));
    assert!(!ledger.is_adopted(project, place).expect("read"));
    let record = AdoptedRecord {
        id: "1".into(),
        repository: "r".into(),
        path: "a.md".into(),
        fingerprint: Fingerprint::of(["x"]),
    };
    ledger.adopt((project, "p"), place, vec![record], Utc::now()).expect("adopt");
    assert!(ledger.is_adopted(project, place).expect("read"));
    let known = ledger.known_files(project, "r").expect("read");
    assert_eq!((known[0].status, known[0].vectors), (FileStatus::Adopted, 1));
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
    let ledger = SqliteState::open(&path).expect("created");
    let revision = ledger.revision().expect("read");
    drop(ledger);
    assert_eq!(SqliteState::open(&path).expect("opened").revision().expect("read"), revision);
    assert!(SqliteState::open_read_only(&path).expect("opened").is_some());
    assert!(SqliteState::open_read_only(&dir.path().join("none.db")).expect("opened").is_none());
}
