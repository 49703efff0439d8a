//! Token counting, as the pipeline's embedder does it.

use std::sync::Arc;

/// Version of token counting: bump when an embedder starts to count the same text differently. Part
/// of the identity of every stage whose sizes are in tokens. Bump the version of the recipe's own
/// steps too, because oversized chunks of the other stages are split by tokens.
pub(super) const COUNTING: u32 = 3;

/// Counts the tokens of a text as the pipeline's embedder does.
pub type TokenCounter = Arc<dyn Fn(&str) -> usize + Send + Sync>;

/// What a component may ask about the embedder.
#[derive(Clone)]
pub struct Tokens {
    /// Counts the tokens of a text.
    pub counter: TokenCounter,
    /// Maximum number of tokens of an input; `None` if no embedder is known.
    pub most: Option<u32>,
    /// Identifies the embedder.
    pub embedder: String,
}

impl Tokens {
    /// The identity of answers, for the identity of chunks that depend on them.
    pub(super) fn identity(&self) -> String {
        let most = self.most.map_or_else(|| "unknown".to_owned(), |most| most.to_string());
        format!("tokens/{COUNTING}<={most} of {}", self.embedder)
    }
}

/// Without an embedder: four bytes are a token.
impl Default for Tokens {
    fn default() -> Self {
        Self {
            counter: Arc::new(|text: &str| text.len().div_ceil(4)),
            most: None,
            embedder: "no embedder".to_owned(),
        }
    }
}
