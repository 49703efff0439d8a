//! Texts into vectors, and the cache that keeps them from being paid for twice.
//! Knows nothing of files, stores or the ledger.

mod settings;

use async_trait::async_trait;

use crate::model::{Fingerprint, StageResult, Vector};

pub use settings::{AzureSettings, LocalSettings, OpenAiSettings};

/// How much an embedder takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbedLimits {
    /// Texts in a call.
    pub inputs_per_call: usize,
    /// Tokens in one text. A longer one is split before it gets here.
    pub tokens_per_input: usize,
    /// Tokens in a call, summed over its texts.
    pub tokens_per_call: usize,
    /// Calls at once.
    pub calls: usize,
}

/// The answer to one call.
#[derive(Debug, Clone)]
pub struct Embeddings {
    /// One vector for each input, in the inputs' order, all of the same length, none zero.
    pub vectors: Vec<Vector>,
    /// Tokens as the service counted them (else as we did).
    pub tokens: u64,
}

/// Makes vectors.
///
/// `embed` is idempotent but costs money: callers send nothing twice. An error of kind `Refused`
/// means that at least one of the inputs is not accepted; the queue halves the batch until it is found.
#[async_trait]
pub trait Embedder: Send + Sync {
    /// The stage's name in the file.
    fn stage(&self) -> &str;

    /// Kind, endpoint, deployment or model, dimensions: what the vectors depend on besides the
    /// text. Never holds a secret. Vectors of different identities are not comparable.
    fn identity(&self) -> &Fingerprint;

    /// The same for people: `local static-256`, `azure-openai text-embedding-3-small, 1536 dimensions`.
    fn label(&self) -> &str;

    /// What a call may hold.
    fn limits(&self) -> EmbedLimits;

    /// Price of a million tokens; zero where nothing is charged or nothing was said.
    fn price_per_million_tokens(&self) -> f64;

    /// Tokens of a text, as the service counts them, or an upper estimate of it.
    fn count_tokens(&self, text: &str) -> usize;

    /// The exact input that is sent for a body and its context. The cache is keyed by it.
    fn input(&self, context: Option<&str>, body: &str) -> String {
        match context {
            Some(context) if !context.is_empty() => format!("{context}\n\n{body}"),
            _ => body.to_owned(),
        }
    }

    /// Components of a vector; may ask the service once (one short text) where nobody said.
    async fn dimensions(&self) -> StageResult<usize>;

    /// One call. `inputs` is within `limits`, and no input is empty.
    async fn embed(&self, inputs: &[&str]) -> StageResult<Embeddings>;
}
