//! Cached vectors as bytes: a checksum over key and vector, then f32 little-endian.

use super::vector_cache::CacheKey;
use crate::model::Vector;

/// Length in bytes of the checksum. Databases do not detect flipped bits in values, and a wrong vector would get into
/// the index.
const CHECK: usize = 8;

/// Length in bytes of an encoded vector of this many components.
pub(super) const fn encoded_bytes(components: usize) -> usize {
    CHECK + 4 * components
}

fn check(key: &CacheKey, components: &[u8]) -> [u8; CHECK] {
    let hash = blake3::keyed_hash(key.bytes(), components);
    std::array::from_fn(|at| hash.as_bytes()[at])
}

/// Writes a vector with its checksum.
pub(super) fn encode(key: &CacheKey, vector: &[f32], blob: &mut Vec<u8>) {
    blob.clear();
    blob.resize(encoded_bytes(vector.len()), 0);
    for (bytes, x) in blob[CHECK..].as_chunks_mut::<4>().0.iter_mut().zip(vector) {
        *bytes = x.to_le_bytes();
    }
    let check = check(key, &blob[CHECK..]);
    blob[..CHECK].copy_from_slice(&check);
}

/// The vector in a row; `None` if its checksum does not match.
pub(super) fn decode(key: &CacheKey, blob: &[u8]) -> Option<Vector> {
    let (stored, components) = blob.split_first_chunk::<CHECK>()?;
    let (components_4, rest) = components.as_chunks::<4>();
    if !rest.is_empty() || components_4.is_empty() || *stored != check(key, components) {
        return None;
    }
    Some(components_4.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Fingerprint;

    fn key(n: u64) -> CacheKey {
        CacheKey::of(&Fingerprint::of(["embedder"]), &n.to_string())
    }

    proptest! {
        #[test]
        fn bits_round_trip(bits in proptest::collection::vec(any::<u32>(), 1..40)) {
            let vector: Vector = bits.iter().map(|bits| f32::from_bits(*bits)).collect();
            let mut blob = Vec::new();
            encode(&key(1), &vector, &mut blob);
            let back = decode(&key(1), &blob).expect("whole");
            prop_assert_eq!(back.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), bits);
            prop_assert!(decode(&key(2), &blob).is_none());
            for at in 0..blob.len() {
                blob[at] ^= 1;
                prop_assert!(decode(&key(1), &blob).is_none());
                blob[at] ^= 1;
            }
        }
    }
}
