//! Measures pieces of text, and finds places to cut those that are too large.

use std::ops::Range;

use super::tokens::{COUNTING, TokenCounter};

/// The maximum chunk size of a stage.
#[derive(Clone)]
pub(super) struct Size {
    max: usize,
    counter: Option<TokenCounter>,
}

impl Size {
    /// At most `max` characters (Unicode scalar values).
    pub(super) fn chars(max: usize) -> Self {
        Self { max: max.max(1), counter: None }
    }

    /// At most `max` tokens.
    pub(super) fn tokens(max: usize, counter: TokenCounter) -> Self {
        Self { max: max.max(1), counter: Some(counter) }
    }

    /// For identities: `chars=1000`, or `tokens/2=256` with the version of token counting.
    pub(super) fn describe(&self) -> String {
        match self.counter {
            Some(_) => format!("tokens/{COUNTING}={}", self.max),
            None => format!("chars={}", self.max),
        }
    }

    /// Measures one document.
    pub(super) fn ruler<'a>(&'a self, text: &'a str) -> Ruler<'a> {
        let unit = match &self.counter {
            None if text.is_ascii() => Unit::Bytes,
            None => Unit::Chars,
            Some(counter) => Unit::Tokens { counter, base: counter("") },
        };
        let fixed = if let Unit::Tokens { base, .. } = unit { base } else { 0 };
        // Start and end marks, which the tokenizer adds to every text, are subtracted once.
        Ruler { text, max: self.max.saturating_sub(fixed).max(1), unit }
    }
}

/// Measures parts of one document.
pub(super) struct Ruler<'a> {
    /// The document.
    pub(super) text: &'a str,
    /// The maximum size, in the unit of [`Ruler::measure`].
    pub(super) max: usize,
    unit: Unit<'a>,
}

enum Unit<'a> {
    /// Characters of an ASCII text, where each is one byte.
    Bytes,
    Chars,
    Tokens {
        counter: &'a TokenCounter,
        /// Token count of the empty text.
        base: usize,
    },
}

impl Ruler<'_> {
    /// The size of a range. Sums of character counts are exact. Sums of token counts are usually no
    /// less than the count of the whole; check [`Ruler::exact`] where the difference matters.
    pub(super) fn measure(&self, range: Range<usize>) -> usize {
        match self.unit {
            Unit::Bytes => range.len(),
            Unit::Chars => char_count(&self.text.as_bytes()[range]),
            Unit::Tokens { counter, base } => counter(&self.text[range]).saturating_sub(base),
        }
    }

    /// True if the sizes of parts add up exactly to the size of the whole.
    pub(super) fn exact(&self) -> bool {
        !matches!(self.unit, Unit::Tokens { .. })
    }

    /// True if sizes are byte lengths.
    pub(super) fn bytes(&self) -> bool {
        matches!(self.unit, Unit::Bytes)
    }

    /// True if the whole range, measured as one text, is within the size.
    pub(super) fn fits(&self, range: Range<usize>) -> bool {
        self.measure(range) <= self.max
    }

    /// Cuts a range into parts that fit: after sentences if possible, else between words, else
    /// between characters (a single character is never split). The parts are contiguous.
    pub(super) fn split(&self, range: Range<usize>) -> Vec<Range<usize>> {
        if self.exact() { self.split_chars(range) } else { pack(&self.atoms(range), self) }
    }

    fn split_chars(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let mut parts = Vec::new();
        let mut start = range.start;
        while start < range.end {
            let limit = self.advance(start, self.max);
            if limit >= range.end {
                parts.push(start..range.end);
                break;
            }
            let middle = self.text.ceil_char_boundary(start + (limit - start) / 2);
            let end = best_break(self.text, middle, limit);
            parts.push(start..end);
            start = end;
        }
        parts
    }

    /// The offset `count` characters after `from`, at most the end of the text. Only for sizes in
    /// characters.
    pub(super) fn advance(&self, from: usize, count: usize) -> usize {
        let len = self.text.len();
        if self.bytes() {
            return from.saturating_add(count).min(len);
        }
        let bytes = self.text.as_bytes();
        let (mut at, mut left) = (from, count);
        while left >= 64 && len - at > 64 {
            // 64 bytes hold at most 64 characters, so this never overshoots.
            left -= char_count(&bytes[at..at + 64]);
            at += 64;
        }
        // The block may end inside a character, which has already been counted.
        while at < len && !self.text.is_char_boundary(at) {
            at += 1;
        }
        while left > 0 && at < len {
            at += 1;
            while at < len && !self.text.is_char_boundary(at) {
                at += 1;
            }
            left -= 1;
        }
        at
    }

    /// The offset `count` characters before `from`, at least 0. Only for sizes in characters.
    pub(super) fn retreat(&self, from: usize, count: usize) -> usize {
        if self.bytes() {
            return from.saturating_sub(count);
        }
        let (mut at, mut left) = (from, count);
        while left > 0 && at > 0 {
            at -= 1;
            while !self.text.is_char_boundary(at) {
                at -= 1;
            }
            left -= 1;
        }
        at
    }

    /// Sentences with their sizes; for a sentence that does not fit, its words; for a word that
    /// does not fit, slices. Each stretch of text is measured at most once per level.
    pub(super) fn atoms(&self, range: Range<usize>) -> Vec<Atom> {
        let mut atoms = Vec::new();
        let mut start = range.start;
        while start < range.end {
            let end = next_sentence(self.text, start, range.end);
            let size = self.measure(start..end);
            if size <= self.max {
                atoms.push(Atom { start, end, size });
            } else {
                self.words(start..end, &mut atoms);
            }
            start = end;
        }
        atoms
    }

    fn words(&self, range: Range<usize>, atoms: &mut Vec<Atom>) {
        let mut start = range.start;
        while start < range.end {
            let end = next_word(self.text, start, range.end);
            // A byte yields at most about one token, so a word of up to this many bytes is measured
            // whole. A longer one (base64, minified code) is measured in slices.
            let slice = self.max.max(16);
            if end - start <= 4 * slice {
                let size = self.measure(start..end);
                if size <= self.max {
                    atoms.push(Atom { start, end, size });
                    start = end;
                    continue;
                }
            }
            self.slices(start..end, slice.div_ceil(4), atoms);
            start = end;
        }
    }

    fn slices(&self, range: Range<usize>, bytes: usize, atoms: &mut Vec<Atom>) {
        let mut start = range.start;
        while start < range.end {
            let mut end = self.text.ceil_char_boundary((start + bytes).min(range.end));
            let mut size = self.measure(start..end);
            while size > self.max {
                let middle = self.text.floor_char_boundary(start + (end - start) / 2);
                if middle == start {
                    // A single character remains (or two, of which the first is long): do not split
                    // it.
                    let one = self.text[start..].chars().next().map_or(end, |c| start + c.len_utf8());
                    end = one;
                    size = self.measure(start..end);
                    break;
                }
                end = middle;
                size = self.measure(start..end);
            }
            atoms.push(Atom { start, end, size });
            start = end;
        }
    }
}

/// A stretch of text that is not split, and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Atom {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) size: usize,
}

/// Packs atoms greedily into ranges that fit.
fn pack(atoms: &[Atom], ruler: &Ruler<'_>) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut first = 0;
    while first < atoms.len() {
        let mut size = 0;
        let mut end = first;
        while end < atoms.len() && (end == first || size + atoms[end].size <= ruler.max) {
            size += atoms[end].size;
            end += 1;
        }
        // Token counts may not add up, so measure the whole range.
        while end - first > 1 && !ruler.fits(atoms[first].start..atoms[end - 1].end) {
            end -= (end - first).div_ceil(8).min(end - first - 1);
        }
        ranges.push(atoms[first].start..atoms[end - 1].end);
        first = end;
    }
    ranges
}

/// Number of characters in a piece of UTF-8: bytes that are not continuation bytes.
pub(super) fn char_count(bytes: &[u8]) -> usize {
    bytes.iter().map(|&b| usize::from(b & 0xC0 != 0x80)).sum()
}

/// The best place to cut in `(from, to]`: after the last sentence, else after the last white space,
/// else `to`. All arguments are character boundaries.
pub(super) fn best_break(text: &str, from: usize, to: usize) -> usize {
    if to <= from {
        return to;
    }
    last_sentence_end(text, from, to)
        .or_else(|| text[to..].starts_with(char::is_whitespace).then_some(to))
        .or_else(|| {
            text[from..to]
                .char_indices()
                .rev()
                .find(|(_, c)| c.is_whitespace())
                .map(|(at, c)| from + at + c.len_utf8())
        })
        .unwrap_or(to)
}

/// The last offset in `(from, to]` right after the end of a sentence or line.
pub(super) fn last_sentence_end(text: &str, from: usize, to: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = to;
    while at > from {
        if text.is_char_boundary(at) && ends_sentence(bytes, at) {
            return Some(at);
        }
        at -= 1;
    }
    None
}

/// True if a sentence or a line ends right before `at`: after a newline; after `.`, `!`, `?`, `…`
/// and closing quotes or brackets followed by white space; after a full-width stop.
pub(super) fn ends_sentence(bytes: &[u8], at: usize) -> bool {
    let Some(&last) = at.checked_sub(1).and_then(|before| bytes.get(before)) else { return false };
    match last {
        b'\n' => true,
        // 。 ！ ？ need no white space after them.
        0x82 => bytes[..at].ends_with(&[0xE3, 0x80, 0x82]),
        0x81 => bytes[..at].ends_with(&[0xEF, 0xBC, 0x81]),
        0x9F => bytes[..at].ends_with(&[0xEF, 0xBC, 0x9F]),
        b'.' | b'!' | b'?' | b'"' | b'\'' | b')' | b']' | b'*' | b'_' | b'`' | 0xA6
            if matches!(bytes.get(at), None | Some(b' ' | b'\t' | b'\n')) =>
        {
            let closing = |byte: &&u8| matches!(byte, b'"' | b'\'' | b')' | b']' | b'*' | b'_' | b'`');
            let end = at - bytes[..at].iter().rev().take(MAX_CLOSING).take_while(closing).count();
            matches!(bytes[..end], [.., b'.' | b'!' | b'?'] | [.., 0xE2, 0x80, 0xA6])
        }
        _ => false,
    }
}

/// Maximum number of closing marks skipped after a sentence: `."**)` has four.
const MAX_CLOSING: usize = 8;

/// End of the sentence that starts at `start`.
fn next_sentence(text: &str, start: usize, end: usize) -> usize {
    let bytes = text.as_bytes();
    (start + 1..end).find(|&at| text.is_char_boundary(at) && ends_sentence(bytes, at)).unwrap_or(end)
}

/// End of the word that starts at `start`, including trailing white space.
fn next_word(text: &str, start: usize, end: usize) -> usize {
    let mut blank = false;
    for (at, c) in text[start..end].char_indices() {
        if c.is_whitespace() {
            blank = true;
        } else if blank {
            return start + at;
        }
    }
    end
}

/// A range without leading and trailing white space; empty if it is blank.
pub(super) fn trim(text: &str, range: Range<usize>) -> Range<usize> {
    let body = &text[range.clone()];
    let start = range.start + (body.len() - body.trim_start().len());
    let end = range.start + body.trim_end().len();
    if end < start { range.start..range.start } else { start..end }
}

/// A range without leading blank lines and trailing white space. Keeps the indentation of the first
/// line. Empty if the range is blank.
pub(super) fn trim_lines(text: &str, range: Range<usize>) -> Range<usize> {
    let trimmed = trim(text, range.clone());
    let line = text[range.start..trimmed.start].rfind('\n').map_or(range.start, |at| range.start + at + 1);
    if trimmed.is_empty() { trimmed } else { line..trimmed.end }
}
