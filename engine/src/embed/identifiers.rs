//! Preparing text for the local model: its words are lower-case pieces, so identifiers are taken
//! apart first. Part of the model's contract; a change here is a change of identity.

/// Inserts a space at camelCase borders, as the model was trained: between a small letter or digit
/// and a capital, and before the last capital of a run that a small letter follows (ASCII only).
///
/// One pass over the bytes; the borders are between ASCII bytes, so UTF-8 stays intact.
pub(super) fn split(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len() + text.len() / 16);
    let mut start = 0;
    for at in 1..bytes.len() {
        if !bytes[at].is_ascii_uppercase() {
            continue;
        }
        let before = bytes[at - 1];
        let border = before.is_ascii_lowercase()
            || before.is_ascii_digit()
            || (before.is_ascii_uppercase() && bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase));
        if border {
            out.push_str(&text[start..at]);
            out.push(' ');
            start = at;
        }
    }
    out.push_str(&text[start..]);
    out
}

/// About how many word pieces a text has, rather more than fewer: one for each punctuation mark
/// and each begun four bytes of a word.
///
/// The model's own tokenizer takes many times as long, and nothing is paid by these tokens; a test
/// compares the two.
pub(super) fn estimate_tokens(text: &str) -> usize {
    let (mut tokens, mut left) = (0, 0);
    for &byte in text.as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | 0x80.. if left > 0 => left -= 1,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | 0x80.. => {
                left = 3;
                tokens += 1;
            }
            b'!'..=b'~' => {
                left = 0;
                tokens += 1;
            }
            _ => left = 0,
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn identifiers_are_taken_apart() {
        for (text, expected) in [
            ("parseConfig", "parse Config"),
            ("HTTPServer", "HTTP Server"),
            ("utf8Decoder v2X", "utf8 Decoder v2 X"),
            ("getX", "get X"),
            ("ABC", "ABC"),
            ("snake_case", "snake_case"),
            ("größeÄndern", "größeÄndern"), // only ASCII letters make a border
            ("Äa", "Äa"),
            ("", ""),
            ("A", "A"),
            ("aB", "a B"),
            (
                "fn parse_config(path: &Path) -> Result<Config>",
                "fn parse_config(path: &Path) -> Result<Config>",
            ),
            ("XMLHttpRequest2D", "XML Http Request2 D"),
        ] {
            assert_eq!(split(text), expected);
        }
    }

    #[test]
    fn tokens_are_estimated() {
        for (text, expected) in [("", 0), ("the", 1), ("houses", 2), ("a.b", 3), ("  \n", 0), ("f(x)", 4)] {
            assert_eq!(estimate_tokens(text), expected, "{text:?}");
        }
    }

    /// The contract's regular expression, evaluated character by character.
    fn by_definition(text: &str) -> String {
        let chars: Vec<char> = text.chars().collect();
        let mut out = String::new();
        for (at, &c) in chars.iter().enumerate() {
            let before = at.checked_sub(1).map(|at| chars[at]);
            let after = chars.get(at + 1);
            let small_before = before.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
            let capital_before = before.is_some_and(|c| c.is_ascii_uppercase());
            let small_after = after.is_some_and(char::is_ascii_lowercase);
            if c.is_ascii_uppercase() && (small_before || (capital_before && small_after)) {
                out.push(' ');
            }
            out.push(c);
        }
        out
    }

    proptest! {
        #[test]
        fn the_scanner_equals_the_definition(text in "[a-cA-C0-1_ äÄ漢]{0,40}") {
            prop_assert_eq!(split(&text), by_definition(&text));
        }
    }
}
