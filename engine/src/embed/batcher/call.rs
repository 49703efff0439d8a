//! What the batcher's tasks do: count tokens, call the embedder, fill the cache.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::Instant;

use crate::embed::embedded::is_usable;
use crate::embed::{Embedder, Embeddings};
use crate::model::{ErrorKind, StageError, StageResult, Vector};
use crate::state::{CacheKey, Claim, Claimant, VectorCache};

/// Up to this many bytes of text, tokens are counted without `spawn_blocking`, because waking a thread costs more.
const FEW_BYTES: usize = 16 << 10;

/// A text on its way. `tokens` is counted after the cache was asked.
#[derive(Clone)]
pub(super) struct Text {
    pub(super) key: CacheKey,
    pub(super) input: Arc<str>,
    pub(super) tokens: usize,
}

/// The result of a call.
pub(super) struct Called {
    /// Texts that another claimant has embedded since they were looked up.
    pub(super) cached: Vec<(Text, Vector)>,
    /// Texts that another claimant embeds now.
    pub(super) taken: Vec<Text>,
    pub(super) outcome: Outcome,
}

/// What became of the texts that are neither cached nor taken.
pub(super) enum Outcome {
    NothingSent,
    Answered(Answered),
    Failed(Vec<Text>, StageError),
}

/// The answer to a batch, checked.
pub(super) struct Answered {
    pub(super) batch: Vec<Text>,
    /// For each text its vector; none where it was zero or not finite.
    pub(super) vectors: Vec<Option<Vector>>,
    pub(super) tokens: u64,
    pub(super) took: Duration,
}

/// Counts the tokens of the texts that have no vector. If counting panics, all counts stay 0.
pub(super) async fn counted(
    embedder: Arc<dyn Embedder>,
    found: Vec<(Text, Option<Vector>)>,
) -> Vec<(Text, Option<Vector>)> {
    let bytes: usize = found.iter().map(|(text, _)| text.input.len()).sum();
    let mut counted = found.clone();
    let count = move || {
        for (text, _) in counted.iter_mut().filter(|(_, vector)| vector.is_none()) {
            text.tokens = embedder.count_tokens(&text.input);
        }
        counted
    };
    let counted = if bytes <= FEW_BYTES {
        std::panic::catch_unwind(AssertUnwindSafe(count)).ok()
    } else {
        tokio::task::spawn_blocking(count).await.ok()
    };
    counted.unwrap_or(found)
}

/// Claims the texts of a batch and sends those that are not claimed by others. If the call fails, the claims on them
/// are given back.
pub(super) async fn claim_and_call(
    embedder: &dyn Embedder,
    cache: Option<Arc<dyn VectorCache>>,
    claimant: Claimant,
    texts: Vec<Text>,
) -> Called {
    let claims = match &cache {
        Some(cache) => cache.claim_many(claimant, keys(&texts)).await,
        None => vec![Claim::Given; texts.len()],
    };
    let (mut cached, mut taken, mut batch) = (Vec::new(), Vec::new(), Vec::new());
    for (text, claim) in texts.into_iter().zip(claims) {
        match claim {
            Claim::Cached(vector) => cached.push((text, vector)),
            Claim::Taken => taken.push(text),
            Claim::Given => batch.push(text),
        }
    }
    if batch.is_empty() {
        return Called { cached, taken, outcome: Outcome::NothingSent };
    }
    let start = Instant::now();
    let called = AssertUnwindSafe(call(embedder, &batch))
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Err(StageError::new(embedder.stage(), ErrorKind::Bug, "the embedder panicked")));
    let outcome = match called {
        Ok((vectors, tokens)) => {
            Outcome::Answered(Answered { batch, vectors, tokens, took: start.elapsed() })
        }
        Err(error) => {
            if let Some(cache) = cache {
                cache.release_many(claimant, keys(&batch)).await;
            }
            Outcome::Failed(batch, error)
        }
    };
    Called { cached, taken, outcome }
}

fn keys(texts: &[Text]) -> Vec<CacheKey> {
    texts.iter().map(|text| text.key).collect()
}

/// Puts the vectors of an answer into the cache, which ends the claims on their texts. Texts whose vectors could not
/// be cached are answered all the same.
pub(super) async fn remember(cache: &dyn VectorCache, claimant: Claimant, answered: &Answered) {
    let entries = answered.batch.iter().zip(&answered.vectors);
    let entries = entries.filter_map(|(text, vector)| Some((text.key, Arc::clone(vector.as_ref()?))));
    let put = AssertUnwindSafe(cache.put_many(entries.collect())).catch_unwind().await;
    if put.is_err() || answered.vectors.contains(&None) {
        cache.release_many(claimant, keys(&answered.batch)).await;
    }
}

/// One call: for each text its usable vector, and the tokens.
async fn call(embedder: &dyn Embedder, batch: &[Text]) -> StageResult<(Vec<Option<Vector>>, u64)> {
    let inputs: Vec<&str> = batch.iter().map(|text| &*text.input).collect();
    let tokens = batch.iter().map(|text| text.tokens as u64).sum();
    let Embeddings { vectors, tokens } = embedder.embed(&inputs, tokens).await?;
    let length = vectors.first().map_or(0, |vector| vector.len());
    if vectors.len() != batch.len() || vectors.iter().any(|vector| vector.len() != length) {
        let message = format!(
            "{} texts were answered by {} vectors, or of different lengths",
            batch.len(),
            vectors.len()
        );
        return Err(StageError::new(embedder.stage(), ErrorKind::Bug, message));
    }
    let usable = vectors.into_iter().map(|vector| is_usable(&vector).then_some(vector));
    Ok((usable.collect(), tokens))
}

/// Shares a call's tokens out in proportion to our own counts, so that they sum up exactly.
pub(super) fn shares(total: u64, batch: &[Text]) -> Vec<u64> {
    // A text that we count as nothing still weighs something, so that nothing is lost.
    let weight = |text: &Text| text.tokens.max(1) as u128;
    let all: u128 = batch.iter().map(weight).sum();
    let (mut before, mut given) = (0, 0);
    batch
        .iter()
        .map(|text| {
            before += weight(text);
            let up_to = u64::try_from(u128::from(total) * before / all).unwrap_or(total);
            let share = up_to - given;
            given = up_to;
            share
        })
        .collect()
}
