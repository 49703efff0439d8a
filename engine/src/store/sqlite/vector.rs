//! Vectors as bytes (f32, little endian), and their dot products.

use crate::model::Vector;

pub(super) fn encode(vector: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(vector.len() * 4);
    for component in vector {
        bytes.extend_from_slice(&component.to_le_bytes());
    }
    bytes
}

pub(super) fn decode(bytes: &[u8]) -> Vector {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// The Euclidean norm of a vector; `None` if it is zero or not finite.
pub(super) fn norm(vector: &[f32]) -> Option<f32> {
    let square: f64 = vector.iter().map(|component| f64::from(*component).powi(2)).sum();
    #[expect(clippy::cast_possible_truncation, reason = "back to the precision of the components")]
    let norm = square.sqrt() as f32;
    (norm.is_normal()).then_some(norm)
}

/// The dot product of a stored vector and the query's vector.
///
/// BLOBs are not aligned, so each component is decoded. Sixteen independent sums let the compiler
/// use SIMD instructions.
pub(super) fn dot(stored: &[u8], query: &[f32]) -> f32 {
    const LANES: usize = 16;
    let (stored, _) = stored.as_chunks::<4>();
    let (stored_groups, stored_rest) = stored.as_chunks::<LANES>();
    let (query_groups, query_rest) = query.as_chunks::<LANES>();
    let mut sums = [0f32; LANES];
    for (stored, query) in stored_groups.iter().zip(query_groups) {
        for lane in 0..LANES {
            sums[lane] += f32::from_le_bytes(stored[lane]) * query[lane];
        }
    }
    let rest: f32 =
        stored_rest.iter().zip(query_rest).map(|(stored, query)| f32::from_le_bytes(*stored) * query).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_hold_the_exact_vector() {
        let vector = [0.1f32, -1.5e-9, f32::MAX, 0.0];
        assert_eq!(&*decode(&encode(&vector)), &vector);
    }

    #[test]
    fn products_of_any_length_are_right() {
        for length in [0, 1, 15, 16, 17, 64, 100] {
            let a: Vec<f32> = (0..length).map(|i| (i % 7) as f32).collect();
            let b: Vec<f32> = (0..length).map(|i| (i % 5) as f32 - 2.0).collect();
            let plain: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            assert!((dot(&encode(&a), &b) - plain).abs() < 1e-3, "{length}");
        }
    }

    #[test]
    fn only_directions_have_a_norm() {
        assert_eq!(norm(&[3.0, 4.0]), Some(5.0));
        for bad in [&[0.0, 0.0][..], &[f32::NAN], &[f32::INFINITY, 1.0], &[]] {
            assert_eq!(norm(bad), None);
        }
    }
}
