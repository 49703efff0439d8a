//! The words that cl100k cuts a text into before it looks for tokens.
//!
//! Its regular expression took a seventh of a first run's processor time. Here ASCII words are split without it;
//! everything next to a character beyond ASCII is left to it.

use std::sync::LazyLock;

use regex::Regex;

/// cl100k's alternatives in their order, for the beginning of a text. `regex` has no look-ahead: for `\s+(?!\S)`, see
/// [`first_word`].
static EXPRESSION: LazyLock<Regex> = LazyLock::new(|| {
    let alternatives = [
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
        r"[^\r\n\p{L}\p{N}]?\p{L}+",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+",
    ];
    Regex::new(&format!("^(?:{})", alternatives.join("|"))).expect("a valid expression")
});

/// The words of a text.
pub(super) fn words(text: &str) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let end = match word_end(text.as_bytes(), start)? {
            End::At(end) => end,
            End::NotAscii => start + first_word(&text[start..]),
        };
        let word = &text.as_bytes()[start..end];
        start = end;
        Some(word)
    })
}

/// The bytes of the first word of a text that is not empty, by the regular expression.
fn first_word(text: &str) -> usize {
    // Its alternatives match every character.
    let end = EXPRESSION.find(text).map_or(text.len(), |found| found.end());
    let word = &text[..end];
    // cl100k's `\s+(?!\S)`: white space before something else leaves it its last character, unless that is all there is.
    // White space that ends in a new line was another alternative.
    match word.char_indices().next_back() {
        Some((last, _))
            if last > 0 && end < text.len() && !word.ends_with(['\r', '\n']) && word.trim().is_empty() =>
        {
            last
        }
        _ => end,
    }
}

/// Where a word ends.
enum End {
    At(usize),
    /// Characters beyond ASCII decide.
    NotAscii,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Letter,
    Digit,
    /// CR or LF.
    Newline,
    /// Other white space.
    Blank,
    Sign,
    NotAscii,
}

fn kind(byte: u8) -> Kind {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' => Kind::Letter,
        b'0'..=b'9' => Kind::Digit,
        b'\r' | b'\n' => Kind::Newline,
        b' ' | b'\t' | 0x0B | 0x0C => Kind::Blank,
        0x80.. => Kind::NotAscii,
        _ => Kind::Sign,
    }
}

/// The end of the word that starts at `start`; none at the end of the text. Each step is an
/// alternative of cl100k's regular expression, in its order:
/// `'(?i:s|t|re|ve|m|ll|d)`, `[^\r\n\p{L}\p{N}]?\p{L}+`, `\p{N}{1,3}`, ` ?[^\s\p{L}\p{N}]+[\r\n]*`,
/// `\s*[\r\n]+`, `\s+$`, `\s+(?!\S)`, `\s+`.
fn word_end(text: &[u8], start: usize) -> Option<End> {
    let at = |place: usize| text.get(place).map(|&byte| kind(byte));
    let run = |from: usize, is: &dyn Fn(Kind) -> bool| {
        let end = text[from..].iter().position(|&byte| !is(kind(byte))).map_or(text.len(), |n| from + n);
        (at(end) != Some(Kind::NotAscii)).then_some(end)
    };
    let done = |end: Option<usize>| Some(end.map_or(End::NotAscii, End::At));
    let first = at(start)?;
    let second = at(start + 1);
    if first == Kind::NotAscii || (second == Some(Kind::NotAscii) && first != Kind::Newline) {
        return Some(End::NotAscii);
    }
    if text[start] == b'\'' {
        let lower = |place: usize| text.get(place).map(u8::to_ascii_lowercase);
        match (lower(start + 1), lower(start + 2)) {
            (Some(b's' | b't' | b'm' | b'd'), _) => return Some(End::At(start + 2)),
            (Some(b'r' | b'v'), Some(b'e')) | (Some(b'l'), Some(b'l')) => return Some(End::At(start + 3)),
            _ => {}
        }
    }
    let letter = |kind| kind == Kind::Letter;
    let sign = |kind| kind == Kind::Sign;
    match first {
        Kind::Letter => return done(run(start, &letter)),
        Kind::Blank | Kind::Sign if second == Some(Kind::Letter) => return done(run(start + 1, &letter)),
        // Three at most: to look at more would be to look at a long number again and again.
        Kind::Digit if second != Some(Kind::Digit) => return Some(End::At(start + 1)),
        Kind::Digit => {
            return Some(match at(start + 2) {
                Some(Kind::Digit) => End::At(start + 3),
                Some(Kind::NotAscii) => End::NotAscii,
                _ => End::At(start + 2),
            });
        }
        Kind::Sign | Kind::Blank
            if first == Kind::Sign || (text[start] == b' ' && second == Some(Kind::Sign)) =>
        {
            let end = run(start + 1, &sign);
            return done(end.and_then(|end| run(end, &|kind| kind == Kind::Newline)));
        }
        _ => {}
    }
    // White space.
    let Some(end) = run(start, &|kind| matches!(kind, Kind::Blank | Kind::Newline)) else {
        return Some(End::NotAscii);
    };
    let newline = text[start..end].iter().rposition(|&byte| kind(byte) == Kind::Newline);
    Some(End::At(match newline {
        Some(last) => start + last + 1,
        None if end == text.len() || end - start == 1 => end,
        None => end - 1,
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn same(text: &str) {
        let ours: Vec<&[u8]> = words(text).collect();
        let theirs: Vec<&[u8]> = bpe_openai::cl100k_base().split(text).map(str::as_bytes).collect();
        assert_eq!(ours, theirs, "{text:?}");
    }

    #[test]
    fn this_source_is_split_alike() {
        same(include_str!("words.rs"));
        same(include_str!("../service.rs"));
    }

    proptest! {
        #[test]
        fn words_are_those_of_the_reference(parts in prop::collection::vec(prop_oneof![
            6 => "[a-zA-Z]{1,12}", 3 => "[ \t\r\n\x0b\x0c]{1,4}", 2 => "[0-9]{1,7}", 2 => "[!-/:-@\\[-`{-~]{1,3}",
            1 => "'(s|T|re|VE|m|Ll|d|x)", 1 => "\\PC{1,3}", 2 => "[\u{a0}\u{85}\u{2028}\u{3000}\u{17f}äßü0-9\x00-\x1f ]{1,4}",
        ], 0..30)) {
            same(&parts.concat());
        }
    }
}
