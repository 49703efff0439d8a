//! Renews this process's claims on keys of the vector cache, so that those of a process that died lapse soon.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::postgres::{Failure, Pool};
use crate::state::vector_cache::CacheKey;

/// When a claim lapses that is not renewed.
pub(super) const LAPSE: &str = "20 seconds";
const RENEW: Duration = Duration::from_secs(5);
/// A claim that is not ended after this time is renewed no more: a call to an embedder waits for a rate limit for five
/// minutes at most.
const LONGEST: Duration = Duration::from_secs(600);

/// The claims of this process.
#[derive(Debug, Clone, Default)]
pub(super) struct Claims(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// The claimant of each key, and since when.
    held: Mutex<HashMap<CacheKey, (i64, Instant)>>,
    is_renewing: AtomicBool,
}

impl Claims {
    /// Renews claims until they end.
    pub(super) fn begin(&self, pool: &Pool, claimant: i64, keys: impl Iterator<Item = CacheKey>) {
        let now = Instant::now();
        self.0.held.lock().extend(keys.map(|key| (key, (claimant, now))));
        if !self.0.is_renewing.swap(true, Ordering::AcqRel) {
            tokio::spawn(renew(Arc::clone(&self.0), pool.clone()));
        }
    }

    /// Claims end.
    pub(super) fn end<'a>(&self, keys: impl Iterator<Item = &'a CacheKey>) {
        let mut held = self.0.held.lock();
        for key in keys {
            held.remove(key);
        }
    }
}

async fn renew(claims: Arc<Shared>, pool: Pool) {
    loop {
        sleep(RENEW).await;
        let held: Vec<(Vec<u8>, i64)> = {
            let mut held = claims.held.lock();
            held.retain(|_, (_, since)| since.elapsed() < LONGEST);
            if held.is_empty() {
                // Still under the lock: a claim that begins now starts the next task.
                claims.is_renewing.store(false, Ordering::Release);
                return;
            }
            held.iter().map(|(key, (claimant, _))| (key.bytes().to_vec(), *claimant)).collect()
        };
        let (keys, claimants): (Vec<Vec<u8>>, Vec<i64>) = held.into_iter().unzip();
        if let Err(failure) = renew_once(&pool, keys, claimants).await {
            // Another process may embed a text again, which costs money but is not wrong.
            tracing::debug!(%failure, "claims on texts could not be renewed");
        }
    }
}

async fn renew_once(pool: &Pool, keys: Vec<Vec<u8>>, claimants: Vec<i64>) -> Result<(), Failure> {
    // In the order of the keys, so that transactions do not wait for each other in a circle.
    let sql = format!(
        "UPDATE vectors SET claimed_until = now() + interval '{LAPSE}' WHERE key IN (
             SELECT key FROM vectors JOIN unnest($1::bytea[], $2::bigint[]) AS held (held_key, claimant)
                 ON key = held_key AND claimed_by = claimant
             WHERE vector IS NULL ORDER BY key FOR UPDATE OF vectors SKIP LOCKED)"
    );
    pool.get().await?.run(&sql, &[&keys, &claimants]).await.map(drop)
}
