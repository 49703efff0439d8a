//! Words of queries with a meaning of their own: those too common to rank by, and those that ask for
//! tests.

const STOP_WORDS: &[&str] = &[
    "a", "about", "all", "also", "an", "and", "any", "are", "as", "at", "be", "been", "but", "by", "can",
    "could", "did", "do", "does", "for", "from", "had", "has", "have", "how", "i", "if", "in", "into", "is",
    "it", "its", "may", "me", "my", "no", "not", "of", "on", "or", "our", "out", "should", "so", "some",
    "such", "than", "that", "the", "their", "them", "then", "there", "these", "they", "this", "those", "to",
    "up", "was", "we", "were", "what", "when", "where", "which", "who", "why", "will", "with", "would",
    "you", "your",
];

/// True for a lower-case word that questions contain whatever they are about.
pub(super) fn is_stop_word(word: &str) -> bool {
    STOP_WORDS.binary_search(&word).is_ok()
}

/// True if a text asks for tests: it has a word such as `test` or `spec`.
pub fn asks_for_tests(text: &str) -> bool {
    let lower = text.to_lowercase();
    let mut words = lower.split(|c: char| !c.is_alphanumeric());
    words.any(|word| {
        matches!(word, "test" | "tests" | "testing" | "tested" | "spec" | "specs" | "unittest" | "testdata")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted() {
        assert!(STOP_WORDS.is_sorted());
        assert!(is_stop_word("the") && !is_stop_word("file"));
    }

    #[test]
    fn a_query_may_ask_for_tests() {
        assert!(asks_for_tests("the test of the store") && asks_for_tests("Spec: parser"));
        assert!(!asks_for_tests("the latest contest"));
    }
}
