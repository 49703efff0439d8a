//! Deterministic ids: chunk ids, fingerprints of settings.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

/// The common prefix of the ids of a file's chunks: `md5(project NUL repository NUL path)` in hex.
pub fn file_prefix(project: &str, repository: &str, path: &str) -> String {
    let mut hasher = Md5::new();
    hasher.update(project);
    hasher.update([0]);
    hasher.update(repository);
    hasher.update([0]);
    hasher.update(path);
    hex::encode(hasher.finalize())
}

/// The ids of a file's chunks, in order.
#[derive(Debug)]
pub struct ChunkIds {
    file_prefix: String,
    /// Number of previous occurrences of each text, by its MD5 hash.
    seen: HashMap<[u8; 16], usize>,
}

impl ChunkIds {
    /// Starts the ids of one file. `file_prefix` comes from [`file_prefix`].
    pub fn of(file_prefix: String) -> Self {
        Self { file_prefix, seen: HashMap::new() }
    }

    /// The id of the next chunk: the file's prefix, a dash, `md5(text)`, a dash, and the number (from
    /// 0) of this occurrence of the text in the file. ASCII, 32 + 1 + 32 + 1 + digits bytes.
    pub fn next(&mut self, text: &str) -> String {
        let digest = Md5::digest(text).into();
        let seen = self.seen.entry(digest).or_default();
        let id = format!("{}-{}-{seen}", self.file_prefix, hex::encode(digest));
        *seen += 1;
        id
    }
}

/// A BLAKE3 hash of all inputs of a decision: settings, identities, versions.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(Arc<str>);

impl Fingerprint {
    /// Hashes a sequence of parts. Each part's length is hashed too, so that different sequences
    /// cannot be concatenated to the same input. Truncated to 128 bits (32 hex digits), enough
    /// against accidental collisions.
    pub fn of<I, S>(parts: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<[u8]>,
    {
        let mut hasher = FingerprintHasher::default();
        for part in parts {
            hasher.update(part.as_ref());
        }
        hasher.finish()
    }

    /// Wraps a fingerprint that was read from storage.
    pub fn from_stored(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Computes a [`Fingerprint`] from parts that are not all in memory at once.
#[derive(Default)]
pub(crate) struct FingerprintHasher(blake3::Hasher);

impl FingerprintHasher {
    /// Adds the next part.
    pub(crate) fn update(&mut self, part: &[u8]) {
        self.0.update(&(part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    /// The same as [`Fingerprint::of`] of all parts.
    pub(crate) fn finish(self) -> Fingerprint {
        Fingerprint(self.0.finalize().to_hex()[..32].into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_contract() {
        let prefix = file_prefix("p", "o/r", "a.md");
        assert_eq!(prefix, hex::encode(Md5::digest(b"p\0o/r\0a.md")));
        let mut ids = ChunkIds::of(prefix.clone());
        for (text, occurrence) in [("text", 0), ("other", 0), ("text", 1), ("text", 2)] {
            let id = ids.next(text);
            assert_eq!(id, format!("{prefix}-{}-{occurrence}", hex::encode(Md5::digest(text))));
            assert!(id.is_ascii());
        }
    }

    #[test]
    fn fingerprints_keep_parts_apart() {
        assert_ne!(Fingerprint::of(["ab", "c"]), Fingerprint::of(["a", "bc"]));
        assert_eq!(Fingerprint::of(["ab"]).as_str().len(), 32);
    }
}
