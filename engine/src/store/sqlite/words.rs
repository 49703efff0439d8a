//! Words for full-text search: splits identifiers and removes FTS5 syntax.

use std::borrow::Cow;
use std::collections::HashSet;

/// Maximum number of a query's words that are searched for; more do not improve the ranking.
const MAX_WORDS: usize = 64;

/// Words too common to rank by. They would take most of a query's time.
const STOP_WORDS: &[&str] = &[
    "a", "about", "all", "also", "an", "and", "any", "are", "as", "at", "be", "been", "but", "by", "can",
    "could", "did", "do", "does", "for", "from", "had", "has", "have", "how", "i", "if", "in", "into", "is",
    "it", "its", "may", "me", "my", "no", "not", "of", "on", "or", "our", "out", "should", "so", "some",
    "such", "than", "that", "the", "their", "them", "then", "there", "these", "they", "this", "those", "to",
    "up", "was", "we", "were", "what", "when", "where", "which", "who", "why", "will", "with", "would",
    "you", "your",
];

/// Inserts a space where a word starts inside an identifier: `parseHTTPHeader` becomes `parse HTTP
/// Header`. The tokenizer itself splits at other separators (`_`, `.`, `::`).
pub(super) fn split_identifiers(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut out = String::new();
    let mut from = 0;
    for at in 1..bytes.len() {
        if !bytes[at].is_ascii_uppercase() {
            continue;
        }
        let before = bytes[at - 1];
        let lower_follows = bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase);
        if before.is_ascii_lowercase()
            || before.is_ascii_digit()
            || (before.is_ascii_uppercase() && lower_follows)
        {
            out.push_str(&text[from..at]);
            out.push(' ');
            from = at;
        }
    }
    if from == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[from..]);
    Cow::Owned(out)
}

/// The FTS5 expression that matches any word of a text; `None` if the text has no word.
///
/// Contains only letters and digits of the text, each word in quotes, so it cannot inject FTS5
/// syntax.
pub(super) fn match_expression(text: &str) -> Option<String> {
    let split = split_identifiers(text);
    let mut seen = HashSet::new();
    let all: Vec<String> = split
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .filter(|word| seen.insert(word.clone()))
        .collect();
    let significant: Vec<&String> = all.iter().filter(|word| !STOP_WORDS.contains(&word.as_str())).collect();
    let chosen = if significant.is_empty() { all.iter().collect() } else { significant };
    let quoted: Vec<String> = chosen.into_iter().take(MAX_WORDS).map(|word| format!("\"{word}\"")).collect();
    (!quoted.is_empty()).then(|| quoted.join(" OR "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_split_at_their_words() {
        for (text, split) in [
            ("parseHTTPHeader2Json", "parse HTTP Header2 Json"),
            ("plain_snake case", "plain_snake case"),
            ("SqliteStore::openNow", "Sqlite Store::open Now"),
            ("ÄrgerÜber", "ÄrgerÜber"),
            ("A", "A"),
            ("", ""),
        ] {
            assert_eq!(split_identifiers(text), split);
        }
    }

    #[test]
    fn a_query_is_words_in_quotes() {
        for (text, expression) in [
            ("how is a deletion guarded?", Some("\"deletion\" OR \"guarded\"")),
            ("what is it", Some("\"what\" OR \"is\" OR \"it\"")),
            ("NEAR(\"a\" b*) NOT col:x -- ^'", Some("\"near\" OR \"b\" OR \"col\" OR \"x\"")),
            ("maxBatch max batch", Some("\"max\" OR \"batch\"")),
            ("?! --", None),
            ("", None),
        ] {
            assert_eq!(match_expression(text).as_deref(), expression);
        }
    }
}
