//! What the engine knows of the embedder. A component that calls these functions depends on it: with another
//! embedder its files are chunked again.

/// Number of tokens of a text, as the embedder counts them. In native tests an estimate: four bytes are a
/// token.
pub fn count_tokens(text: &str) -> u32 {
    #[cfg(target_family = "wasm")]
    return crate::export::count_tokens(text);
    #[cfg(not(target_family = "wasm"))]
    u32::try_from(text.len().div_ceil(4)).unwrap_or(u32::MAX)
}

/// Maximum number of tokens of an embedder's input; `None` if no embedder is known, as in native tests.
pub fn max_tokens() -> Option<u32> {
    #[cfg(target_family = "wasm")]
    return crate::export::max_tokens();
    #[cfg(not(target_family = "wasm"))]
    None
}
