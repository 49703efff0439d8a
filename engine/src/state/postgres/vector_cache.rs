//! The vector cache in a table that all processes share, and claims that hold between them. It is written lazily: after a
//! crash of the server the texts of its last second may have to be embedded again.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;

use super::claims::{Claims, LAPSE};
use crate::model::{ByteSize, Vector};
use crate::postgres::{Failure, Pool, PostgresUrl};
use crate::state::vector_bytes::{decode, encode, encoded_bytes};
use crate::state::vector_cache::{CacheKey, Claim, Claimant, VectorCache};

/// Bytes that are stored between two looks at the size of the table.
const LOOK: u64 = 64 << 20;
/// Vectors that are evicted at a time.
const EVICTED: i64 = 10_000;

/// The vector cache in a PostgreSQL database.
#[derive(Debug)]
pub struct PostgresVectorCache {
    pool: Pool,
    bound: u64,
    /// Claims of this process.
    claims: Claims,
    /// Bytes stored since the last look at the size.
    stored: AtomicU64,
    /// Whether it is logged that the cache cannot be used.
    is_logged: AtomicBool,
}

impl PostgresVectorCache {
    /// The cache in a database whose tables exist. Connects when it is first used.
    pub(crate) fn new(url: &PostgresUrl, connections: usize, bound: ByteSize) -> Result<Self, Failure> {
        let pool = Pool::new(url.clone(), connections)?;
        Ok(Self {
            pool,
            bound: bound.0,
            claims: Claims::default(),
            stored: AtomicU64::new(0),
            is_logged: AtomicBool::new(false),
        })
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// What was done; `None` after a failure, which is logged once: the run goes on without the cache.
    fn used<T>(&self, done: Result<T, Failure>) -> Option<T> {
        let failure = match done {
            Ok(done) => {
                self.is_logged.store(false, Ordering::Relaxed);
                return Some(done);
            }
            // Nothing was ever written to the database: the cache is empty.
            Err(failure) if failure.lacks_table() => return None,
            Err(failure) => failure,
        };
        if !self.is_logged.swap(true, Ordering::Relaxed) {
            tracing::warn!(database = %self.pool.url(), %failure, "the vector cache cannot be used for now");
        }
        None
    }

    async fn find(&self, keys: &[&[u8]]) -> Result<HashMap<CacheKey, Vector>, Failure> {
        let sql = "SELECT key, vector, used < CURRENT_DATE FROM vectors WHERE key = ANY ($1) AND vector IS NOT NULL";
        let mut found = HashMap::new();
        let mut unused: Vec<&[u8]> = Vec::new();
        let rows = self.pool.get().await?.rows(sql, &[&keys.to_vec()]).await?;
        for row in &rows {
            let stored: &[u8] = row.get(0);
            let key = <[u8; 32]>::try_from(stored).map(CacheKey::from_bytes);
            if let Ok(key) = key
                && let Some(vector) = decode(&key, row.get(1))
            {
                found.insert(key, vector);
                if row.get(2) {
                    unused.push(stored);
                }
            }
        }
        // By day, so that most reads do not write.
        if !unused.is_empty() {
            let sql = "UPDATE vectors SET used = CURRENT_DATE WHERE key IN (
                 SELECT key FROM vectors WHERE key = ANY ($1) ORDER BY key FOR UPDATE SKIP LOCKED)";
            self.pool.rows_lazily(sql, &[&unused]).await?;
        }
        Ok(found)
    }

    async fn claim(&self, claimant: Claimant, keys: &[CacheKey]) -> Result<Vec<Claim>, Failure> {
        let wanted = sorted(keys);
        let sql = format!(
            "INSERT INTO vectors AS old (key, claimed_by, claimed_until)
             SELECT key, $2, now() + interval '{LAPSE}' FROM unnest($1::bytea[]) AS key
             ON CONFLICT (key) DO UPDATE SET claimed_by = excluded.claimed_by, claimed_until = excluded.claimed_until
             WHERE old.vector IS NULL AND (old.claimed_by = excluded.claimed_by OR old.claimed_until IS NULL
                 OR old.claimed_until < now())
             RETURNING key"
        );
        let rows = self.pool.rows_lazily(&sql, &[&wanted, &number(claimant)]).await?;
        let given: BTreeSet<&[u8]> = rows.iter().map(|row| row.get(0)).collect();
        let begun = keys.iter().filter(|key| given.contains(key.bytes().as_slice())).copied();
        self.claims.begin(&self.pool, number(claimant), begun);
        let others: Vec<&[u8]> = wanted.iter().copied().filter(|key| !given.contains(key)).collect();
        // Another claimant may have stored some of them since they were looked up.
        let cached = if others.is_empty() { HashMap::new() } else { self.find(&others).await? };
        let claim = |key: &CacheKey| match cached.get(key) {
            Some(vector) => Claim::Cached(vector.clone()),
            None if given.contains(key.bytes().as_slice()) => Claim::Given,
            None => Claim::Taken,
        };
        Ok(keys.iter().map(claim).collect())
    }

    async fn put(&self, vectors: &[(CacheKey, Vector)]) -> Result<(), Failure> {
        let mut rows: Vec<(&[u8], Vec<u8>)> = Vec::with_capacity(vectors.len());
        for (key, vector) in vectors {
            let mut bytes = Vec::new();
            encode(key, vector, &mut bytes);
            rows.push((key.bytes(), bytes));
        }
        rows.sort_unstable();
        rows.dedup_by_key(|(key, _)| *key);
        let size: usize = rows.iter().map(|(key, bytes)| key.len() + bytes.len()).sum();
        let (keys, bytes): (Vec<&[u8]>, Vec<Vec<u8>>) = rows.into_iter().unzip();
        let sql = "INSERT INTO vectors (key, vector) SELECT * FROM unnest($1::bytea[], $2::bytea[])
             ON CONFLICT (key) DO UPDATE SET vector = excluded.vector, used = excluded.used, claimed_by = NULL,
                 claimed_until = NULL";
        self.pool.rows_lazily(sql, &[&keys, &bytes]).await?;
        if self.stored.fetch_add(size as u64, Ordering::Relaxed) + size as u64 >= LOOK {
            self.stored.store(0, Ordering::Relaxed);
            self.evict().await?;
        }
        Ok(())
    }

    /// Deletes vectors of a length, in ranges of keys, so that no statement takes long.
    async fn forget_length(&self, components: i32, bytes: i32) -> Result<(), Failure> {
        let connection = self.pool.get().await?;
        let is_forgotten = "SELECT 1 FROM forgotten_vectors WHERE components = $1";
        if connection.row(is_forgotten, &[&components]).await?.is_some() {
            return Ok(());
        }
        let sql = "DELETE FROM vectors WHERE key >= $1 AND ($2::bytea IS NULL OR key < $2)
             AND octet_length(vector) = $3";
        for first in 0..=u8::MAX {
            let end = first.checked_add(1).map(|end| vec![end]);
            connection.run(sql, &[&vec![first], &end, &bytes]).await?;
        }
        let sql = "INSERT INTO forgotten_vectors VALUES ($1) ON CONFLICT DO NOTHING";
        connection.run(sql, &[&components]).await.map(drop)
    }

    /// Deletes the vectors that were not used for longest while the table is larger than the bound. Their space is
    /// used again once the server has vacuumed, so one step at a time.
    async fn evict(&self) -> Result<(), Failure> {
        let sql = "DELETE FROM vectors WHERE key IN (
                 SELECT key FROM vectors WHERE vector IS NOT NULL ORDER BY used LIMIT $1)
             AND (SELECT sum(pg_column_size(vector)) FROM vectors) > $2";
        let bound = i64::try_from(self.bound).unwrap_or(i64::MAX);
        self.pool.get().await?.run(sql, &[&EVICTED, &bound]).await.map(drop)
    }
}

#[async_trait]
impl VectorCache for PostgresVectorCache {
    async fn get_many(&self, keys: Vec<CacheKey>) -> Vec<Option<Vector>> {
        let found = self.used(self.find(&sorted(&keys)).await).unwrap_or_default();
        keys.iter().map(|key| found.get(key).cloned()).collect()
    }

    async fn contains_many(&self, keys: Vec<CacheKey>) -> Vec<bool> {
        let contained = async {
            let sql = "SELECT key FROM vectors WHERE key = ANY ($1) AND vector IS NOT NULL";
            let rows = self.pool.get().await?.rows(sql, &[&sorted(&keys)]).await?;
            Ok(rows.iter().map(|row| row.get(0)).collect::<BTreeSet<Vec<u8>>>())
        };
        let contained = self.used(contained.await).unwrap_or_default();
        keys.iter().map(|key| contained.contains(key.bytes().as_slice())).collect()
    }

    async fn claim_many(&self, claimant: Claimant, keys: Vec<CacheKey>) -> Vec<Claim> {
        // Without the cache, everybody embeds on their own.
        self.used(self.claim(claimant, &keys).await).unwrap_or_else(|| vec![Claim::Given; keys.len()])
    }

    async fn put_many(&self, vectors: Vec<(CacheKey, Vector)>) {
        self.claims.end(vectors.iter().map(|(key, _)| key));
        self.used(self.put(&vectors).await).unwrap_or_default();
    }

    async fn release_many(&self, claimant: Claimant, keys: Vec<CacheKey>) {
        self.claims.end(keys.iter());
        let released = async {
            let sql = "DELETE FROM vectors WHERE key = ANY ($1) AND vector IS NULL AND claimed_by = $2";
            self.pool.rows_lazily(sql, &[&sorted(&keys), &number(claimant)]).await
        };
        self.used(released.await);
    }

    async fn forget(&self, components: usize) {
        let number = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let forgotten = self.forget_length(number(components), number(encoded_bytes(components))).await;
        self.used(forgotten).unwrap_or_default();
    }
}

/// Each key once, in order, so that transactions do not wait for each other in a circle.
fn sorted(keys: &[CacheKey]) -> Vec<&[u8]> {
    keys.iter().map(|key| key.bytes().as_slice()).collect::<BTreeSet<&[u8]>>().into_iter().collect()
}

/// A claimant as a number of the server, which has no unsigned ones.
fn number(claimant: Claimant) -> i64 {
    claimant.0.cast_signed()
}
