//! The cost of embedding without the service: the local model, decoding answers, the queue, the cache.
//! Each is compared with a lower bound: the minimum that any implementation must do with the same
//! input.
//!
//! `cargo bench --bench embed`

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use reposync::embed::local::LocalEmbedder;
use reposync::embed::{EmbedLimits, EmbedQueue, Embedder, Embeddings, read_answer};
use reposync::model::{ByteSize, EventSink, Fingerprint, StageResult, Vector};
use reposync::state::sqlite::SqliteVectorCache;
use reposync::state::{CacheKey, VectorCache};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

fn main() {
    divan::main();
}

/// Bytes of an average chunk.
const CHUNK: usize = 514;

/// Pieces of this package's own source, each different.
fn chunks(n: usize) -> Vec<String> {
    fn collect(folder: &Path, text: &mut String) {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                collect(&path, text);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text.push_str(&std::fs::read_to_string(path).expect("source"));
            }
        }
    }
    let mut text = String::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut text);
    let bytes: Vec<u8> = text.bytes().filter(u8::is_ascii).collect();
    let pieces: Vec<&[u8]> = bytes.chunks_exact(CHUNK - 8).collect();
    (0..n).map(|n| format!("{n:07} {}", String::from_utf8_lossy(pieces[n % pieces.len()]))).collect()
}

/// One thread for the executor and one for blocking work, so that the results are those of one core.
fn runtime() -> Runtime {
    Builder::new_current_thread().max_blocking_threads(1).enable_all().build().expect("a runtime")
}

fn bytes_of(texts: &[String]) -> BytesCount {
    BytesCount::new(texts.iter().map(String::len).sum::<usize>())
}

mod local {
    use super::{Bencher, Embedder, ItemsCount, LocalEmbedder, black_box, bytes_of, chunks, runtime};

    #[divan::bench]
    fn embed_256_chunks(bencher: Bencher) {
        let texts = chunks(256);
        let inputs: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (runtime, embedder) = (runtime(), LocalEmbedder::embedded("local"));
        runtime.block_on(embedder.embed(&inputs, 0)).expect("loaded");
        bencher
            .counter(ItemsCount::new(inputs.len()))
            .counter(bytes_of(&texts))
            .bench_local(|| runtime.block_on(embedder.embed(black_box(&inputs), 0)).expect("embedded"));
    }

    #[divan::bench]
    fn count_tokens_of_256_chunks(bencher: Bencher) {
        let (texts, embedder) = (chunks(256), LocalEmbedder::embedded("local"));
        bencher
            .counter(ItemsCount::new(texts.len()))
            .counter(bytes_of(&texts))
            .bench_local(|| texts.iter().map(|text| embedder.count_tokens(black_box(text))).sum::<usize>());
    }

    #[divan::bench]
    fn bound_hash_256_chunks(bencher: Bencher) {
        let texts = chunks(256);
        bencher.counter(ItemsCount::new(texts.len())).counter(bytes_of(&texts)).bench_local(|| {
            texts
                .iter()
                .map(|text| blake3::hash(black_box(text.as_bytes())))
                .max_by_key(|hash| hash.as_bytes()[0])
        });
    }
}

mod wire {
    use super::{BASE64_STANDARD, Bencher, BytesCount, Engine, black_box, bytes_of, json, read_answer};

    const VECTORS: usize = 100;

    fn vectors() -> Vec<Vec<f32>> {
        (0..VECTORS).map(|n| (0..1536).map(|i| ((n * 1536 + i) as f32).sin() / 39.0).collect()).collect()
    }

    fn base64_of(vector: &[f32]) -> String {
        BASE64_STANDARD.encode(vector.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())
    }

    fn body(base64: bool) -> Vec<u8> {
        let embedding = |vector: &Vec<f32>| if base64 { json!(base64_of(vector)) } else { json!(vector) };
        let data: Vec<_> = vectors()
            .iter()
            .enumerate()
            .map(|(index, vector)| json!({ "object": "embedding", "index": index, "embedding": embedding(vector) }))
            .collect();
        json!({ "object": "list", "model": "m", "data": data, "usage": { "prompt_tokens": 9, "total_tokens": 9 } })
            .to_string()
            .into_bytes()
    }

    #[divan::bench]
    fn answer_100x1536_base64(bencher: Bencher) {
        let body = body(true);
        bencher
            .counter(BytesCount::new(body.len()))
            .bench_local(|| read_answer(black_box(&body), VECTORS).expect("well-formed"));
    }

    #[divan::bench]
    fn bound_base64_alone(bencher: Bencher) {
        let texts: Vec<String> = vectors().iter().map(|vector| base64_of(vector)).collect();
        let mut bytes = Vec::new();
        bencher.counter(bytes_of(&texts)).bench_local(|| {
            for text in &texts {
                bytes.clear();
                BASE64_STANDARD.decode_vec(black_box(text), &mut bytes).expect("base64");
            }
        });
    }

    #[divan::bench]
    fn answer_100x1536_numbers(bencher: Bencher) {
        let body = body(false);
        bencher
            .counter(BytesCount::new(body.len()))
            .bench_local(|| read_answer(black_box(&body), VECTORS).expect("well-formed"));
    }

    #[divan::bench]
    fn bound_numbers_alone(bencher: Bencher) {
        let body = serde_json::to_vec(&vectors()).expect("JSON");
        bencher
            .counter(BytesCount::new(body.len()))
            .bench_local(|| serde_json::from_slice::<Vec<Vec<f32>>>(black_box(&body)).expect("JSON"));
    }
}

mod queue {
    use super::{
        Arc, Bencher, CacheKey, CancellationToken, EmbedLimits, EmbedQueue, Embedder, Embeddings, EventSink,
        Fingerprint, ItemsCount, StageResult, Vector, async_trait, black_box, chunks, runtime,
    };

    /// Answers at once, with the same vector for every text.
    struct Nothing(Fingerprint, Vector);

    #[async_trait]
    impl Embedder for Nothing {
        fn stage(&self) -> &'static str {
            "nothing"
        }
        fn identity(&self) -> &Fingerprint {
            &self.0
        }
        fn label(&self) -> &'static str {
            "nothing"
        }
        fn limits(&self) -> EmbedLimits {
            EmbedLimits { inputs_per_call: 100, tokens_per_input: 8191, tokens_per_call: 300_000, calls: 8 }
        }
        fn price_per_million_tokens(&self) -> f64 {
            0.0
        }
        fn count_tokens(&self, text: &str) -> usize {
            text.len() / 4
        }
        async fn dimensions(&self) -> StageResult<usize> {
            Ok(self.1.len())
        }
        async fn embed(&self, inputs: &[&str], tokens: u64) -> StageResult<Embeddings> {
            Ok(Embeddings { vectors: vec![Arc::clone(&self.1); inputs.len()], tokens })
        }
    }

    /// 1,000 files of ten chunks, all at once, without a cache.
    #[divan::bench(sample_count = 20)]
    fn overhead_of_10_000_texts(bencher: Bencher) {
        let texts = chunks(10_000);
        let runtime = runtime();
        let embedder = Arc::new(Nothing(Fingerprint::of(["nothing"]), vec![0.5; 256].into()));
        bencher
            .counter(ItemsCount::new(texts.len()))
            .with_inputs(|| texts.chunks(10).map(<[String]>::to_vec).collect::<Vec<_>>())
            .bench_local_values(|files| {
                runtime.block_on(async {
                    let cancel = CancellationToken::new();
                    let queue = EmbedQueue::new(Arc::clone(&embedder) as _, None, cancel, EventSink::none());
                    futures::future::join_all(files.into_iter().map(|file| queue.embed("p", file))).await
                })
            });
    }

    #[divan::bench(sample_count = 20)]
    fn bound_keys_of_10_000_texts(bencher: Bencher) {
        let (texts, identity) = (chunks(10_000), Fingerprint::of(["nothing"]));
        bencher
            .counter(ItemsCount::new(texts.len()))
            .bench_local(|| texts.iter().map(|text| CacheKey::of(&identity, black_box(text))).max());
    }
}

mod cache {
    use super::{
        Arc, Bencher, ByteSize, CacheKey, Fingerprint, ItemsCount, SqliteVectorCache, Vector, VectorCache,
        black_box,
    };

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
    }

    const HELD: usize = 20_000;
    const ROOMY: ByteSize = ByteSize::mib(1024);

    fn entries(from: usize, n: usize, dimensions: usize) -> Vec<(CacheKey, Vector)> {
        let identity = Fingerprint::of(["bench"]);
        let vector: Vector = (0..dimensions).map(|i| (i as f32).sin()).collect();
        (from..from + n).map(|n| (CacheKey::of(&identity, &n.to_string()), Arc::clone(&vector))).collect()
    }

    fn filled(dimensions: usize) -> (tempfile::TempDir, SqliteVectorCache) {
        let folder = tempfile::tempdir().expect("temp dir");
        let cache = SqliteVectorCache::open(folder.path(), ROOMY);
        for from in (0..HELD).step_by(1000) {
            runtime().block_on(cache.put_many(entries(from, 1000, dimensions)));
        }
        (folder, cache)
    }

    #[divan::bench(args = [256, 1536])]
    fn get_1000(bencher: Bencher, dimensions: usize) {
        let (_folder, cache) = filled(dimensions);
        let keys: Vec<CacheKey> =
            entries(0, HELD, dimensions).iter().step_by(HELD / 1000).map(|(key, _)| *key).collect();
        let runtime = runtime();
        bencher
            .counter(ItemsCount::new(keys.len()))
            .bench_local(|| runtime.block_on(cache.get_many(black_box(&keys).clone())));
    }

    #[divan::bench]
    fn miss_1000(bencher: Bencher) {
        let (_folder, cache) = filled(256);
        let keys: Vec<CacheKey> = entries(HELD, 1000, 1).iter().map(|(key, _)| *key).collect();
        let runtime = runtime();
        bencher
            .counter(ItemsCount::new(keys.len()))
            .bench_local(|| runtime.block_on(cache.get_many(black_box(&keys).clone())));
    }

    #[divan::bench(args = [256, 1536], sample_count = 50, sample_size = 1)]
    fn put_256(bencher: Bencher, dimensions: usize) {
        let (_folder, cache) = filled(dimensions);
        let mut from = HELD;
        let runtime = runtime();
        bencher
            .counter(ItemsCount::new(256usize))
            .with_inputs(|| {
                from += 256;
                entries(from, 256, dimensions)
            })
            .bench_local_values(|entries| runtime.block_on(cache.put_many(entries)));
    }

    /// The lower bound of any cache in an SQLite file: the same rows read by key and copied, with the
    /// same page cache.
    #[divan::bench(args = [256, 1536])]
    fn bound_rows_1000(bencher: Bencher, dimensions: usize) {
        let (folder, cache) = filled(dimensions);
        drop(cache);
        let file = rusqlite::Connection::open(folder.path().join("cache.db")).expect("the cache's file");
        file.pragma_update(None, "cache_size", -4096).expect("a pragma");
        let keys: Vec<Vec<u8>> = {
            let every = format!("SELECT key FROM vectors WHERE id % {} = 0", HELD / 1000);
            let mut keys = file.prepare(&every).expect("a statement");
            keys.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("keys")
        };
        assert_eq!(keys.len(), 1000);
        bencher.counter(ItemsCount::new(keys.len())).bench_local(|| {
            let transaction = file.unchecked_transaction().expect("begin");
            let mut select =
                transaction.prepare_cached("SELECT vector FROM vectors WHERE key = ?1").expect("a statement");
            let copy = |row: &rusqlite::Row<'_>| {
                let (numbers, _) = row.get_ref(0)?.as_blob().expect("a blob").as_chunks::<4>();
                Ok(numbers.iter().map(|number| f32::from_le_bytes(*number)).collect::<Vector>())
            };
            keys.iter().map(|key| select.query_row([key], copy).expect("a row")).collect::<Vec<_>>()
        });
    }

    #[divan::bench]
    fn bound_copy_1000_vectors(bencher: Bencher) {
        let vectors: Vec<Vec<f32>> = (0..1000).map(|n| vec![n as f32; 256]).collect();
        bencher.counter(ItemsCount::new(vectors.len())).bench_local(|| {
            black_box(&vectors).iter().map(|vector| Vector::from(vector.as_slice())).collect::<Vec<_>>()
        });
    }
}
