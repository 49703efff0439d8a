//! Recording files as done, compared with a lower bound: the same rows in a plain table in one durable
//! transaction.
//!
//! `cargo bench --bench ledger`

use std::path::Path;

use chrono::Utc;
use divan::Bencher;
use reposync::model::{Fingerprint, GitSha, Place};
use reposync::state::sqlite::SqliteState;
use reposync::state::{
    FileKey, FileRow, FileStatus, Files as _, ProjectRow, Projects as _, State as _, StoredChunk,
};
use rusqlite::{Connection, params};

fn main() {
    divan::main();
}

const FILES: usize = 1_000;
const CHUNKS: usize = 8;

fn rows() -> Vec<FileRow> {
    let file = |n: usize| FileRow {
        file: FileKey::new("acme/docs", format!("docs/part-{}/page-{n}.md", n % 50)),
        commit: GitSha([2; 20]),
        blob_sha: GitSha([u8::try_from(n % 251).expect("a byte"); 20]),
        recipe: Fingerprint::of(["recipe"]),
        status: FileStatus::Synced,
        detail: None,
        chunks: (0..CHUNKS).map(|chunk| chunk_of(n, chunk)).collect(),
    };
    (0..FILES).map(file).collect()
}

fn chunk_of(file: usize, chunk: usize) -> StoredChunk {
    let id = format!("{:032x}-{:032x}-0", file * 7_919, chunk * 104_729 + file);
    StoredChunk { fingerprint: Fingerprint::of([id.as_str()]), id }
}

/// The largest number of files that a run commits in one transaction.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn record_1000_files(bencher: Bencher) {
    let rows = rows();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    bencher
        .with_inputs(|| {
            let folder = tempfile::tempdir().expect("a folder");
            let ledger = SqliteState::open(&folder.path().join("state.db")).expect("a ledger");
            let entered = runtime.block_on(async {
                let lease = ledger.lease(&[]).await.expect("asked").expect("free");
                ledger
                    .enter_project(
                        lease.fence(),
                        &project(),
                        &place(),
                        &Fingerprint::of(["recipe"]),
                        Utc::now(),
                    )
                    .await
                    .map(|()| lease)
            });
            (folder, ledger, entered.expect("a project"), rows.clone())
        })
        .bench_values(|(folder, ledger, lease, rows)| {
            let place = place();
            let recorded = ledger.commit_files(lease.fence(), "docs", &place, rows, Utc::now());
            runtime.block_on(recorded).expect("recorded");
            (folder, ledger)
        });
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn bound_one_transaction_of_plain_rows(bencher: Bencher) {
    let rows = rows();
    bencher
        .with_inputs(|| {
            let folder = tempfile::tempdir().expect("a folder");
            let connection = plain(folder.path());
            (folder, connection)
        })
        .bench_values(|(folder, mut connection)| {
            let transaction = connection.transaction().expect("begin");
            for (number, row) in rows.iter().enumerate() {
                transaction
                    .prepare_cached("INSERT INTO files VALUES (?1, ?2, ?3, ?4, ?5)")
                    .and_then(|mut insert| {
                        insert.execute(params![
                            number,
                            row.file.repository,
                            row.file.path,
                            row.commit.to_string(),
                            row.blob_sha.to_string()
                        ])
                    })
                    .expect("insert");
                for chunk in &row.chunks {
                    transaction
                        .prepare_cached("INSERT INTO chunks VALUES (?1, ?2, ?3)")
                        .and_then(|mut insert| {
                            insert.execute(params![number, chunk.id, chunk.fingerprint.to_string()])
                        })
                        .expect("insert");
                }
            }
            transaction.commit().expect("commit");
            (folder, connection)
        });
}

fn plain(folder: &Path) -> Connection {
    let connection = Connection::open(folder.join("plain.db")).expect("open");
    connection.pragma_update(None, "journal_mode", "WAL").expect("WAL");
    connection.pragma_update(None, "synchronous", "FULL").expect("durable");
    connection
        .execute_batch(
            "CREATE TABLE files (id INTEGER PRIMARY KEY, repository TEXT, path TEXT, commit_sha TEXT, blob TEXT);
             CREATE TABLE chunks (file INTEGER, id TEXT, fingerprint TEXT, PRIMARY KEY (file, id)) WITHOUT ROWID;",
        )
        .expect("tables");
    connection
}

fn project() -> ProjectRow {
    ProjectRow {
        name: "docs".into(),
        organization: None,
        filter_keyword: None,
        namespace: "docs".into(),
        enabled: true,
        allowed_extensions: None,
        exclude_patterns: Vec::new(),
    }
}

fn place() -> Place {
    Place { kind: "sqlite".into(), host: "/index.db".into(), index: String::new(), namespace: "docs".into() }
}
