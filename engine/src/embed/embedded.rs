//! A vector as callers of the queue get it.

use crate::model::Vector;

/// A text's vector, and what it cost.
#[derive(Debug, Clone)]
pub struct Embedded {
    /// The vector.
    pub vector: Vector,
    /// True where nothing was sent for it: it came from the cache, or with an equal text in flight. Never true for
    /// an embedder that is free: without a cache it depends on timing which equal texts are in flight together, and
    /// a plan has to tell the number beforehand.
    pub cached: bool,
    /// Tokens charged for it; zero where it was cached. Over a run they sum up to what the
    /// service counted.
    pub tokens: u64,
}

/// True for a vector that a store can hold: finite, and with a direction.
pub(super) fn is_usable(vector: &[f32]) -> bool {
    vector.iter().all(|x| x.is_finite()) && vector.iter().any(|&x| x != 0.0)
}
