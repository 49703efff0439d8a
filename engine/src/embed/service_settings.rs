//! Defaults and checks of the settings that embedding services share.

use crate::settings::Checker;

/// Maximum number of texts per request of OpenAI and Azure.
const BATCH_MOST: usize = 2048;
/// Maximum number of components of a vector that a store accepts (Pinecone).
const DIMENSIONS_MOST: u32 = 20_000;

/// The original's `EMBEDDING_BATCH_SIZE`.
pub(super) fn default_batch_size() -> usize {
    100
}

/// `batch_size`, `dimensions` and `price_per_million_tokens`.
pub(super) fn check_service(
    check: &mut Checker<'_>,
    batch: usize,
    dimensions: Option<u32>,
    price: Option<f64>,
) {
    if !(1..=BATCH_MOST).contains(&batch) {
        let hint = "the service takes at most 2048 texts in a request";
        check.flag("batch_size", "outside 1 to 2048", hint);
    }
    if dimensions.is_some_and(|n| !(1..=DIMENSIONS_MOST).contains(&n)) {
        check.flag("dimensions", "outside 1 to 20000", "such as 1536 for text-embedding-3-small");
    }
    if price.is_some_and(|price| !price.is_finite() || price < 0.0) {
        check.flag("price_per_million_tokens", "not a price", "a number, at least 0, such as 0.02");
    }
}

/// `requests_per_minute` and `tokens_per_minute`.
pub(super) fn check_rates(check: &mut Checker<'_>, requests: Option<u32>, tokens: Option<u32>) {
    for (key, rate) in [("requests_per_minute", requests), ("tokens_per_minute", tokens)] {
        if rate == Some(0) {
            let hint = "leave it out to go as fast as the service allows";
            check.flag(key, "must be more than zero", hint);
        }
    }
}
