//! Texts into vectors, and the cache that keeps them from being paid for twice.
//! Knows nothing of files, stores or the ledger.

pub mod azure;
mod batcher;
mod body;
mod classify;
mod config;
mod embedded;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod identifiers;
pub mod local;
pub mod openai;
mod purpose;
mod service;
mod service_settings;
mod tokens;
mod words;

use std::time::Duration;

use async_trait::async_trait;

use crate::model::{Fingerprint, StageError, StageResult, Vector};

pub use batcher::EmbedQueue;
pub use body::{EmbeddingResponse, read_answer};
pub use config::EmbedderConfig;
pub use embedded::Embedded;
#[cfg(any(test, fuzzing))]
pub use fuzz::fuzz;
pub use purpose::InputType;
pub use service::ServiceEmbedder;
pub use tokens::count as count_tokens;

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
/// `embed` is idempotent but costs money, unless the embedder [is free](Self::is_free): callers send nothing twice. An
/// error of kind `Refused` means that at least one of the inputs is not accepted; the queue halves the batch until it
/// is found.
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

    /// True if embedding a text again costs less than keeping its vector: no money, no call to a service, about
    /// 0.1 ms of processor time. The queue does not cache vectors of such an embedder and counts each text as
    /// embedded, and the spending guard leaves it out. Its vectors must depend on nothing but identity and text.
    fn is_free(&self) -> bool {
        false
    }

    /// Price of a million tokens; zero where nothing is charged or nothing was said.
    fn price_per_million_tokens(&self) -> f64;

    /// Tokens of a text, as the service counts them, or an estimate where nothing is paid by them.
    fn count_tokens(&self, text: &str) -> usize;

    /// Tokens of a text by the model's own tokenizer, as far as it is known: what sizes of chunks
    /// are measured in. Where it begins to find other numbers, the version of the counting in
    /// `chunk` grows: other chunks are another recipe.
    fn measure_tokens(&self, text: &str) -> usize {
        self.count_tokens(text)
    }

    /// The exact input that is sent for a body and its context. The cache is keyed by it.
    fn input(&self, context: Option<&str>, body: &str) -> String {
        with_context(context, body)
    }

    /// The exact input that is sent for a query. A query has no context, and some models want it marked.
    fn query_input(&self, text: &str) -> String {
        text.to_owned()
    }

    /// The cosine below which a text is hardly nearer to a query than the nearest of texts that do not
    /// answer it; `None`: not measured for this model.
    fn weak_below(&self) -> Option<f64> {
        None
    }

    /// Number of components of a vector. If it is not configured, the service may be asked once, with one
    /// short text.
    async fn dimensions(&self) -> StageResult<usize>;

    /// How long the queue waits for more texts before it makes a call that is not full. Zero
    /// where a call costs nothing.
    fn linger(&self) -> Duration {
        if self.is_free() { Duration::ZERO } else { Duration::from_millis(25) }
    }

    /// Whether the embedder emits an event for each call, as services do; for all others the queue does.
    fn reports_calls(&self) -> bool {
        false
    }

    /// One call. `inputs` is within `limits`, no input is empty, and `tokens` is the sum of
    /// `count_tokens` over them (the caller has counted them for the batch).
    async fn embed(&self, inputs: &[&str], tokens: u64) -> StageResult<Embeddings>;

    /// The same for queries, which some services embed differently.
    async fn embed_queries(&self, inputs: &[&str], tokens: u64) -> StageResult<Embeddings> {
        self.embed(inputs, tokens).await
    }

    /// The vector of one text outside any batch: a query.
    async fn embed_one(&self, text: &str) -> StageResult<Vector> {
        let input = self.query_input(text);
        if text.trim().is_empty() {
            return Err(StageError::refused(self.stage(), "an empty text has no vector"));
        }
        let tokens = self.count_tokens(&input) as u64;
        let mut answer = self.embed_queries(&[&input], tokens).await?;
        match answer.vectors.pop() {
            Some(vector) if answer.vectors.is_empty() && embedded::is_usable(&vector) => Ok(vector),
            _ => Err(StageError::refused(self.stage(), "no usable vector was given for the text")),
        }
    }
}

/// A body with its context in front of it.
fn with_context(context: Option<&str>, body: &str) -> String {
    match context {
        Some(context) if !context.is_empty() => format!("{context}\n\n{body}"),
        _ => body.to_owned(),
    }
}
