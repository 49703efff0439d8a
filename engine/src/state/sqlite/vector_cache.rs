//! The vector cache in an SQLite file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::cache_file::{CACHE_FILE, CacheFile};
use crate::blocking::BlockingPool;
use crate::model::{ByteSize, Vector};
use crate::state::vector_cache::{CacheKey, Claim, Claimant, VectorCache};

/// Concurrent calls: one running, one queued, since the file has one connection.
const CALLS: usize = 2;
/// When a claim lapses: a call to an embedder waits for a rate limit for five minutes at most.
const LAPSE: Duration = Duration::from_secs(600);

/// The vector cache in an SQLite file. Claims are known to this process only: another one that shares the file
/// may embed the same text at the same moment.
#[derive(Debug)]
pub struct SqliteVectorCache {
    path: PathBuf,
    file: Arc<LazyLock<CacheFile, Opening>>,
    claims: Arc<Mutex<Claims>>,
    calls: BlockingPool,
}

/// Opens the file on first use: a command that embeds no documents neither reads nor writes it.
type Opening = Box<dyn FnOnce() -> CacheFile + Send>;

/// Who has claimed a key, and until when.
type Claims = HashMap<CacheKey, (Claimant, Instant)>;

impl SqliteVectorCache {
    /// The cache in `cache.db` of a folder. Both are created on first use. Never fails: an unusable file is moved
    /// aside and replaced, or else the cache is disabled.
    pub fn open(folder: &Path, bound: ByteSize) -> Self {
        let (folder, path) = (folder.to_owned(), folder.join(CACHE_FILE));
        let open: Opening = Box::new(move || CacheFile::open(&folder, bound));
        let (file, calls) = (Arc::new(LazyLock::new(open)), BlockingPool::of(CALLS));
        Self { path, file, claims: Arc::default(), calls }
    }

    /// Runs blocking work on the file. A panic counts as a cache that finds and stores nothing.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&CacheFile, &Mutex<Claims>) -> T + Send + 'static,
    ) -> Option<T> {
        let (file, claims) = (Arc::clone(&self.file), Arc::clone(&self.claims));
        self.calls.run(move || work(&file, &claims)).await.ok()
    }
}

#[async_trait]
impl VectorCache for SqliteVectorCache {
    async fn get_many(&self, keys: Vec<CacheKey>) -> Vec<Option<Vector>> {
        let n = keys.len();
        self.call(move |file, _| file.get_many(&keys)).await.unwrap_or_else(|| vec![None; n])
    }

    async fn contains_many(&self, keys: Vec<CacheKey>) -> Vec<bool> {
        let n = keys.len();
        self.call(move |file, _| file.contains_many(&keys)).await.unwrap_or_else(|| vec![false; n])
    }

    async fn claim_many(&self, claimant: Claimant, keys: Vec<CacheKey>) -> Vec<Claim> {
        let (n, now) = (keys.len(), Instant::now());
        let claimed = self.call(move |file, claims| {
            let mut claims = claims.lock();
            claims.retain(|_, (_, until)| *until > now);
            let is_free = |key: &CacheKey| claims.get(key).is_none_or(|(holder, _)| *holder == claimant);
            let free: Vec<CacheKey> = keys.iter().copied().filter(is_free).collect();
            // Another claimant may have stored some of them since they were looked up.
            let mut cached: HashMap<CacheKey, Option<Vector>> =
                free.iter().copied().zip(file.get_many(&free)).collect();
            let claim = |key: &CacheKey| match cached.remove(key) {
                Some(Some(vector)) => Claim::Cached(vector),
                Some(None) => {
                    claims.insert(*key, (claimant, now + LAPSE));
                    Claim::Given
                }
                None => Claim::Taken,
            };
            keys.iter().map(claim).collect()
        });
        claimed.await.unwrap_or_else(|| vec![Claim::Given; n])
    }

    async fn put_many(&self, vectors: Vec<(CacheKey, Vector)>) {
        let put = self.call(move |file, claims| {
            file.put_many(&vectors);
            let mut claims = claims.lock();
            for (key, _) in &vectors {
                claims.remove(key);
            }
        });
        put.await.unwrap_or_default();
    }

    async fn release_many(&self, claimant: Claimant, keys: Vec<CacheKey>) {
        let mut claims = self.claims.lock();
        for key in keys {
            if claims.get(&key).is_some_and(|(holder, _)| *holder == claimant) {
                claims.remove(&key);
            }
        }
    }

    async fn forget(&self, components: usize) {
        let (path, file) = (self.path.clone(), Arc::clone(&self.file));
        let forgotten = self.calls.run(move || {
            // A file that is not there is not created for it.
            if path.exists() {
                file.forget(components);
            }
        });
        forgotten.await.unwrap_or_default();
    }
}
