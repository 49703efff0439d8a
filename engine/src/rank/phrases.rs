//! Term by adjacency: words of the query that stand side by side in the chunk as they do in the
//! query.

use super::candidate::Candidate;
use super::names::share;
use super::text::{searchable, words};
use super::words::Words;

/// Share of the query's neighbouring words that stand side by side in path, name, context or text.
pub(super) fn adjacency(words: &Words, candidate: &Candidate) -> f64 {
    let pairs = words.pairs();
    if pairs.is_empty() {
        return 0.0;
    }
    let mut found = vec![false; pairs.len()];
    for key in ["file_path", "name", "context", "text"] {
        let form = searchable(candidate.text(key));
        let mut before = None;
        for word in self::words(&form) {
            let at = words.find(word);
            if let (Some(before), Some(at)) = (before, at)
                && let Some(pair) = pairs.iter().position(|pair| *pair == (before, at))
            {
                found[pair] = true;
            }
            before = at;
        }
    }
    share(found.iter().filter(|found| **found).count(), pairs.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn neighbours_of_the_query_are_neighbours_of_the_text() {
        let of = |query: &str, text: &str| {
            let metadata = json!({"text": text, "name": "", "file_path": "x"});
            let metadata = metadata.as_object().expect("an object").clone();
            let candidate =
                Candidate { id: String::new(), metadata, cosine: None, file_cosine: None, bm25: 0.0 };
            adjacency(&Words::new(query), &candidate)
        };
        assert_eq!(
            of("retry policy limit", "a retry policy of the limit").total_cmp(&0.5),
            std::cmp::Ordering::Equal
        );
        let is = |share: f64, expected: f64| (share - expected).abs() < 1e-12;
        assert!(is(of("retry policy", "RetryPolicies are"), 1.0));
        assert!(is(of("retry policy", "policy retry"), 0.0));
        assert!(is(of("retry", "retry"), 0.0));
        assert!(is(of("全文検索", "これは全文検索です"), 1.0));
    }
}
