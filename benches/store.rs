//! The vector stores, each beside the least that the same work could cost: plain rows in SQLite,
//! products in memory, numbers written as JSON.
//!
//! `cargo bench --bench store`

#[path = "store/records.rs"]
mod records;

use std::sync::LazyLock;

use divan::Bencher;
use reposync::model::Vector;
use reposync::store::{Query, SqliteStore, VectorStore};
use rusqlite::{Connection, params};
use tokio::runtime::Runtime;

use records::{CHUNKS_PER_FILE, pinecone, records, vector};

fn main() {
    divan::main();
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

fn filled(count: usize) -> (tempfile::TempDir, SqliteStore) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open("index", folder.path().join("index.db"));
    RUNTIME.block_on(async {
        for batch in records(count, 256).chunks(1000) {
            store.upsert("n", batch).await.expect("upsert");
        }
    });
    (folder, store)
}

#[divan::bench(sample_count = 3, sample_size = 1)]
fn insert_10_000(bencher: Bencher) {
    let records = records(10_000, 256);
    bencher
        .with_inputs(|| {
            let folder = tempfile::tempdir().expect("a folder");
            let store = SqliteStore::open("index", folder.path().join("index.db"));
            (folder, store)
        })
        .bench_values(|(folder, store)| {
            RUNTIME.block_on(async {
                for batch in records.chunks(1000) {
                    store.upsert("n", batch).await.expect("upsert");
                }
            });
            folder
        });
}

/// The least: the same bytes as rows of one plain table, as many in a transaction.
#[divan::bench(sample_count = 3, sample_size = 1)]
fn insert_10_000_plain_rows(bencher: Bencher) {
    let rows: Vec<(String, Vec<u8>, String)> = records(10_000, 256)
        .into_iter()
        .map(|record| {
            let bytes = record.vector.iter().flat_map(|value| value.to_le_bytes()).collect();
            (record.id, bytes, serde_json::Value::Object(record.metadata.to_json()).to_string())
        })
        .collect();
    bencher.with_inputs(|| tempfile::tempdir().expect("a folder")).bench_values(|folder| {
        let mut connection = Connection::open(folder.path().join("plain.db")).expect("open");
        connection.pragma_update(None, "journal_mode", "WAL").expect("WAL");
        connection
            .execute_batch("CREATE TABLE r (n INTEGER PRIMARY KEY, id TEXT, v BLOB, m TEXT)")
            .expect("table");
        for batch in rows.chunks(1000) {
            let transaction = connection.transaction().expect("begin");
            {
                let mut insert = transaction
                    .prepare_cached("INSERT INTO r (id, v, m) VALUES (?1, ?2, ?3)")
                    .expect("prepare");
                for (id, vector, metadata) in batch {
                    insert.execute(params![id, vector, metadata]).expect("insert");
                }
            }
            transaction.commit().expect("commit");
        }
        folder
    });
}

/// One file's twenty chunks in a call of their own.
#[divan::bench(sample_count = 100, sample_size = 1)]
fn delete_a_file(bencher: Bencher) {
    let (_folder, store) = filled(10_000);
    let ids: Vec<String> = records(10_000, 1).into_iter().map(|record| record.id).collect();
    let mut files = ids.chunks(CHUNKS_PER_FILE);
    bencher
        .with_inputs(|| files.next().expect("files enough").to_vec())
        .bench_local_values(|ids| RUNTIME.block_on(store.delete("n", &ids)).expect("delete"));
}

#[divan::bench(args = [10_000, 100_000], sample_count = 10, sample_size = 1)]
fn query_vectors(bencher: Bencher, count: usize) {
    let (_folder, store) = filled(count);
    let query = Query { vector: vector(count, 256), text: None, top_k: 10, filter: None };
    bencher.bench(|| RUNTIME.block_on(store.query("n", &query)).expect("query"));
}

#[divan::bench(args = [10_000], sample_count = 10, sample_size = 1)]
fn query_vectors_and_text(bencher: Bencher, count: usize) {
    let (_folder, store) = filled(count);
    let text = Some("how is page 4711 guarded?".into());
    let query = Query { vector: vector(count, 256), text, top_k: 10, filter: None };
    bencher.bench(|| RUNTIME.block_on(store.query("n", &query)).expect("query"));
}

/// The least: all products, the vectors lying in memory in one piece.
#[divan::bench(args = [10_000, 100_000], sample_count = 10, sample_size = 1)]
fn query_products_in_memory(bencher: Bencher, count: usize) {
    let vectors: Vec<f32> = (0..count).flat_map(|number| vector(number, 256).to_vec()).collect();
    let asked = vector(count, 256);
    bencher.bench(|| {
        vectors
            .chunks_exact(256)
            .map(|one| {
                let mut sums = [0f32; 16];
                for (a, b) in one.as_chunks::<16>().0.iter().zip(asked.as_chunks::<16>().0) {
                    for lane in 0..16 {
                        sums[lane] += a[lane] * b[lane];
                    }
                }
                sums.iter().sum::<f32>()
            })
            .fold(f32::MIN, f32::max)
    });
}

/// The bodies of an upsert of a hundred vectors of 1,536.
#[divan::bench(sample_count = 50)]
fn pinecone_upsert_bodies(bencher: Bencher) {
    let store = pinecone("https://127.0.0.1", 8);
    let records = records(100, 1536);
    bencher.bench(|| store.upsert_bodies("n", &records).expect("bodies"));
}

/// The least: only the numbers, one after the other.
#[divan::bench(sample_count = 50)]
fn pinecone_numbers_as_json(bencher: Bencher) {
    let vectors: Vec<Vector> = records(100, 1536).into_iter().map(|record| record.vector).collect();
    bencher.bench(|| {
        let mut out = Vec::with_capacity(2_000_000);
        for vector in &vectors {
            serde_json::to_writer(&mut out, &**vector).expect("numbers");
        }
        out
    });
}
