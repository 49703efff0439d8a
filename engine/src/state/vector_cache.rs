//! The vector cache, which avoids paying twice for the embedding of the same text.

use std::fmt;

use async_trait::async_trait;

use crate::model::{Fingerprint, Vector};

/// Vectors by the embedder's identity and the exact input text. Losing them costs money but not correctness, so
/// no call fails: a cache that cannot be used finds nothing and stores nothing.
#[async_trait]
pub trait VectorCache: fmt::Debug + Send + Sync {
    /// Looks up keys and records their use. The result is in the order of the keys.
    async fn get_many(&self, keys: Vec<CacheKey>) -> Vec<Option<Vector>>;

    /// Which keys are cached. Changes nothing.
    async fn contains_many(&self, keys: Vec<CacheKey>) -> Vec<bool>;

    /// Claims keys whose texts are about to be embedded, so that no other caller embeds them. A claim ends
    /// with `put_many` or `release_many`; one that is not ended lapses after some minutes, longer than a call
    /// to an embedder takes, or soon after its process has died. The result is in the order of the keys.
    async fn claim_many(&self, claimant: Claimant, keys: Vec<CacheKey>) -> Vec<Claim>;

    /// Stores vectors, and ends the claims on their keys.
    async fn put_many(&self, vectors: Vec<(CacheKey, Vector)>);

    /// Ends claims for which no vector will be stored. Claims of others stay.
    async fn release_many(&self, claimant: Claimant, keys: Vec<CacheKey>);

    /// Deletes all vectors of this many components, once: later calls with the same number do nothing. An entry does
    /// not tell whose it is, so the caller must know that no embedder that needs the cache has such vectors.
    async fn forget(&self, components: usize);
}

/// Who claims keys: one batcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claimant(pub u64);

impl Claimant {
    /// A new claimant, different from all others of all processes.
    #[expect(clippy::new_without_default, reason = "each one is different")]
    pub fn new() -> Self {
        Self(getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id())))
    }
}

/// The answer to a claim on a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Claim {
    /// Its vector is cached by now.
    Cached(Vector),
    /// The claim is given: the claimant embeds the text.
    Given,
    /// Another claimant embeds the text; ask again later.
    Taken,
}

/// The key of a cached vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey([u8; 32]);

impl CacheKey {
    /// The key of an input, exactly as it is sent, for an embedder.
    pub fn of(identity: &Fingerprint, input: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(identity.as_str().as_bytes());
        hasher.update(&[0]);
        hasher.update(input.as_bytes());
        Self(*hasher.finalize().as_bytes())
    }

    /// The key of these bytes.
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, as implementations store them.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}
