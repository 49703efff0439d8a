//! Keys of cached vectors.

use crate::model::Fingerprint;

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

    /// Its bytes, as implementations store them.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}
