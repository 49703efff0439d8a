//! A fuzz target: an embedding service's answers, good and bad.

use super::classify::{Adjustment, Endpoint, pause};
use super::read_answer;
use crate::model::fuzzed::answer;
use crate::model::register_secrets;
use crate::net::retry_after;

/// An HTTP answer: its vectors, or what its error means.
pub fn fuzz(bytes: &[u8]) {
    const KEY: &str = "sk-0123456789";
    let (status, headers, body) = answer(bytes);
    for inputs in [1, 3] {
        let Ok(read) = read_answer(body, inputs) else { continue };
        assert_eq!(read.vectors.len(), inputs, "a vector for each text");
        assert!(
            read.vectors.iter().all(|vector| vector.len() == read.vectors[0].len() && !vector.is_empty())
        );
    }
    register_secrets([KEY.to_owned()]);
    let endpoint =
        Endpoint { stage: "ada".into(), host: "ada.example".into(), credentials_hint: "", address_hint: "" };
    let (refused, adjustment) = endpoint.explain(status, &headers, body);
    let about_size = matches!(status.as_u16(), 400 | 413 | 422);
    assert!(about_size || !matches!(adjustment, Adjustment::SmallerBatches(_)), "{adjustment:?}");
    for failed in [refused, endpoint.garbage("why", body)] {
        let message = failed.error.to_string();
        assert!(!message.contains(KEY) && message.len() < 3000, "{message}");
    }
    for tokens in [0, 1, 1 << 40] {
        pause(&headers, tokens);
    }
    retry_after(&headers);
}
