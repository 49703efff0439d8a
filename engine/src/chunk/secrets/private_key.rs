//! Detects PEM blocks of private keys, regardless of their content.

use std::ops::Range;

use memchr::memmem;

/// Id of the rule.
pub(super) const RULE: &str = "private-key";

/// Finds PEM blocks of private keys that have a body; a marker alone is just a string constant.
pub(super) fn find(text: &str, found: &mut Vec<Range<usize>>) {
    const END: &str = "-----END ";
    let ends: Vec<usize> = memmem::find_iter(text.as_bytes(), END).collect();
    let mut ends = ends.into_iter().peekable();
    let mut begins = memmem::find_iter(text.as_bytes(), "-----BEGIN ").peekable();
    while let Some(begin) = begins.next() {
        let next = begins.peek().copied().unwrap_or(text.len());
        while ends.next_if(|end| *end < begin).is_some() {}
        let end = ends.peek().copied().filter(|end| *end < next);
        let Some(label) = text[begin + 11..next].find("-----").filter(|length| *length <= 40) else {
            continue;
        };
        if !text[begin + 11..begin + 11 + label].contains("PRIVATE KEY") {
            continue;
        }
        let body = begin + 11 + label + 5;
        let end = match end {
            Some(end) => {
                let label = text[end + END.len()..next].find("-----").filter(|length| *length <= 40);
                end + label.map_or(END.len(), |length| END.len() + length + 5)
            }
            // Truncated: take everything that looks like part of a key.
            None => body + text[body..next].find(|c: char| !is_key_text(c)).unwrap_or(next - body),
        };
        if end > body && has_long_run(&text[body..end]) {
            found.push(begin..end);
        }
    }
}

fn is_key_text(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '\\' | '\n' | '\t' | ' ')
}

/// True for a run of 40 base64 characters: longer than any word, shorter than a line of a key.
fn has_long_run(body: &str) -> bool {
    body.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=')))
        .any(|run| run.len() >= 40)
}
