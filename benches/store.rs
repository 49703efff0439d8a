//! The vector stores, each compared with a lower bound of the same work: plain rows in SQLite, dot
//! products in memory, numbers written as JSON.
//!
//! `cargo bench --bench store`

#[path = "store/records.rs"]
mod records;

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use divan::Bencher;
use reposync::model::Vector;
use reposync::rank::Words;
use reposync::store::sqlite::SqliteStore;
use reposync::store::{Query, Search, SearchScope, Selection, VectorStore};
use rusqlite::{Connection, Transaction, params};
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

/// Lower bound: the same bytes as rows of one plain table, in one transaction.
#[divan::bench(sample_count = 3, sample_size = 1)]
fn insert_10_000_plain_rows(bencher: Bencher) {
    insert_plainly(bencher, |_, _| {});
}

/// Lower bound with full-text search: the same rows, with their texts indexed by FTS5.
#[divan::bench(sample_count = 3, sample_size = 1)]
fn insert_10_000_rows_and_words(bencher: Bencher) {
    let texts: Vec<String> = records(10_000, 1)
        .iter()
        .map(|record| format!("{}\n{}", record.metadata.file_path, record.metadata.text))
        .collect();
    insert_plainly(bencher, |transaction, numbers| {
        let mut insert =
            transaction.prepare_cached("INSERT INTO w (rowid, body) VALUES (?1, ?2)").expect("a statement");
        for number in numbers {
            insert.execute(params![number, texts[number]]).expect("insert");
        }
    });
}

fn insert_plainly(bencher: Bencher, more: impl Fn(&Transaction<'_>, Range<usize>) + Sync) {
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
            .execute_batch(
                "CREATE TABLE r (n INTEGER PRIMARY KEY, id TEXT, v BLOB, m TEXT);
                 CREATE VIRTUAL TABLE w USING fts5(
                     body, content='', tokenize='porter unicode61'
                 );",
            )
            .expect("tables");
        for (at, batch) in rows.chunks(1000).enumerate() {
            let transaction = connection.transaction().expect("begin");
            {
                let mut insert = transaction
                    .prepare_cached("INSERT INTO r (id, v, m) VALUES (?1, ?2, ?3)")
                    .expect("prepare");
                for (id, vector, metadata) in batch {
                    insert.execute(params![id, vector, metadata]).expect("insert");
                }
                more(&transaction, at * 1000..at * 1000 + batch.len());
            }
            transaction.commit().expect("commit");
        }
        folder
    });
}

/// The twenty chunks of one file in one call.
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
    let query = Query { vector: vector(count, 256), top_k: 10, filter: None };
    bencher.bench(|| RUNTIME.block_on(store.query("n", &query)).expect("query"));
}

#[divan::bench(args = [10_000], sample_count = 10, sample_size = 1)]
fn query_vectors_and_text(bencher: Bencher, count: usize) {
    let (_folder, store) = filled(count);
    let search = Search {
        scopes: vec![SearchScope { namespace: "n".into(), project: "handbook".into() }],
        vector: Some(vector(count, 256)),
        words: Some(Arc::new(Words::new("how is page 4711 guarded?"))),
        selection: Selection::default(),
        filter: None,
        symbol: None,
        depth: 100,
    };
    bencher.bench(|| RUNTIME.block_on(store.search(&search)).expect("search"));
}

/// Lower bound of any store in an SQLite file: read every row and compute every dot product.
#[divan::bench(args = [10_000, 100_000], sample_count = 10, sample_size = 1)]
fn query_products_of_rows(bencher: Bencher, count: usize) {
    let (folder, store) = filled(count);
    drop(store);
    let file = Connection::open(folder.path().join("index.db")).expect("the store's file");
    let asked = vector(count, 256);
    bencher.bench_local(|| {
        let mut scan = file.prepare_cached("SELECT vector FROM vectors").expect("a statement");
        let mut rows = scan.query([]).expect("rows");
        let mut best = f32::MIN;
        while let Some(row) = rows.next().expect("a row") {
            let (numbers, _) = row.get_ref(0).expect("a column").as_blob().expect("a blob").as_chunks::<4>();
            let mut sums = [0f32; 16];
            for (bytes, asked) in numbers.as_chunks::<16>().0.iter().zip(asked.as_chunks::<16>().0) {
                for lane in 0..16 {
                    sums[lane] += f32::from_le_bytes(bytes[lane]) * asked[lane];
                }
            }
            best = best.max(sums.iter().sum::<f32>());
        }
        best
    });
}

/// Lower bound: all dot products, with the vectors contiguous in memory.
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

/// The bodies of an upsert of a hundred vectors of 1,536 components.
#[divan::bench(sample_count = 50)]
fn pinecone_upsert_bodies(bencher: Bencher) {
    let store = pinecone("https://127.0.0.1", 8);
    let records = records(100, 1536);
    bencher.bench(|| store.upsert_bodies("n", &records).expect("bodies"));
}

/// Lower bound: only the numbers.
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
