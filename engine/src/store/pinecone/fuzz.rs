//! A fuzz target: Pinecone's answers of both planes, good and bad.

use super::body::{Fetched, Listed, Matches, Stats, with_whole_numbers};
use super::call::ErrorBody;
use super::control::Described;
use crate::model::fuzzed::answer;
use crate::model::register_secrets;
use crate::net::{is_html, retry_after};

/// An HTTP answer: its body as everything that the service sends, and as an error.
pub fn fuzz(bytes: &[u8]) {
    const KEY: &str = "pcsk_0123456789";
    let (_, headers, body) = answer(bytes);
    retry_after(&headers);
    register_secrets([KEY.to_owned()]);
    let said = ErrorBody::read(body, is_html(&headers));
    if let Some(message) = said.message {
        assert!(!message.contains(KEY) && message.chars().count() < 310, "{message}");
        assert!(!message.contains(char::is_control), "{message:?}");
    }
    drop(serde_json::from_slice::<Described>(body));
    drop(serde_json::from_slice::<Stats>(body));
    drop(serde_json::from_slice::<Listed>(body));
    if let Ok(fetched) = serde_json::from_slice::<Fetched>(body) {
        for record in fetched.vectors.into_values() {
            with_whole_numbers(record.metadata);
        }
    }
    if let Ok(found) = serde_json::from_slice::<Matches>(body) {
        for scored in found.matches {
            with_whole_numbers(scored.metadata);
        }
    }
}
