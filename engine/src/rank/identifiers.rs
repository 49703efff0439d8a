//! Identifiers in the text of a query.

/// Maximum number of a query's identifiers that are looked for.
const MAX_IDENTIFIERS: usize = 64;

/// The last part of a symbol's name: `guard` of `Guard::guard`, `Guard.guard` and `Guard#guard`.
pub fn last_part(name: &str) -> &str {
    name.rsplit([':', '.', '#', '/', '\\']).next().unwrap_or(name).trim()
}

/// True if a text is one identifier, possibly with a path: `retryPolicy`, `Guard::guard`. A plain
/// lower-case word is none.
pub fn is_identifier(text: &str) -> bool {
    let text = text.trim().trim_end_matches("()");
    !text.is_empty()
        && !text.contains(char::is_whitespace)
        && text.chars().all(|c| c == '_' || c.is_alphanumeric() || matches!(c, ':' | '.' | '#'))
        && identifiers(text).iter().any(|identifier| identifier == last_part(text))
}

/// The identifiers that a text names: words with `_` or inner capitals, `called(`, words in
/// backticks, parts of `a.b`, `A::b` and `A#b`. A plain lower-case word is none.
pub(super) fn identifiers(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut add = |word: &str| {
        if found.len() < MAX_IDENTIFIERS && !found.iter().any(|known| known == word) {
            found.push(word.to_owned());
        }
    };
    let mut quoted = false;
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c == '`' || is_part(c)) {
        if rest[start..].starts_with('`') {
            quoted = !quoted;
            rest = &rest[start + 1..];
            continue;
        }
        rest = &rest[start..];
        let end = chain_end(rest);
        let (chain, after) = rest.split_at(end);
        let parts: Vec<&str> = chain.split([':', '.', '#']).filter(|part| !part.is_empty()).collect();
        let joined = parts.len() > 1;
        for (at, part) in parts.iter().enumerate() {
            let starts_well = part.starts_with(|c: char| c == '_' || c.is_alphabetic());
            let called = at + 1 == parts.len() && after.starts_with('(');
            if starts_well && (joined || called || quoted || has_shape(part)) {
                add(part);
            }
        }
        rest = after;
    }
    found
}

fn is_part(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// The end of a chain of words joined by `.`, `::` or `#` at the start of a text. A joint counts only
/// between two words, so that the end of a sentence is none.
fn chain_end(text: &str) -> usize {
    let mut end = 0;
    loop {
        end += text[end..].find(|c: char| !is_part(c)).unwrap_or(text.len() - end);
        let joint = ["::", ".", "#"].iter().find(|joint| text[end..].starts_with(**joint));
        match joint {
            Some(joint) if text[end + joint.len()..].starts_with(is_part) => end += joint.len(),
            _ => return end,
        }
    }
}

/// True for the shapes that identifiers have and words have not: `snake_case`, `camelCase`.
fn has_shape(word: &str) -> bool {
    let inner_capital = word.chars().skip(1).any(char::is_uppercase) && word.chars().any(char::is_lowercase);
    inner_capital || word.trim_matches('_').contains('_') || (word.starts_with('_') && word.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_told_from_words() {
        for (text, expected) in [
            ("where does parse_header fail?", &["parse_header"][..]),
            ("retryPolicy of the client", &["retryPolicy"]),
            ("what does open() do.", &["open"]),
            ("the `guard` of deletions", &["guard"]),
            ("Guard::check and Store.query", &["Guard", "check", "Store", "query"]),
            ("Array#map", &["Array", "map"]),
            ("a sentence. Another one", &[]),
            ("HTTP API of version 1.2", &[]),
            ("plain words only", &[]),
        ] {
            assert_eq!(identifiers(text), expected, "{text}");
        }
    }

    #[test]
    fn one_identifier_is_a_symbol() {
        for text in ["retryPolicy", "Guard::guard", "parse_header", "parse_header()", " fooBar "] {
            assert!(is_identifier(text), "{text}");
        }
        for text in ["guard", "a b", "HTTP", "", "what_is this", "fooBar?"] {
            assert!(!is_identifier(text), "{text}");
        }
    }

    #[test]
    fn the_last_part_names_the_symbol() {
        for (name, last) in
            [("Guard::guard", "guard"), ("a.b.c", "c"), ("A#b", "b"), ("plain", "plain"), ("", "")]
        {
            assert_eq!(last_part(name), last);
        }
    }
}
