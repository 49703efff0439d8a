//! Turns chunks into pieces within the limits of embedder and store: validates ranges, splits
//! oversized chunks, computes line numbers. Trusts no chunker, whether built in or a component.

use std::cell::OnceCell;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::TokenCounter;
use super::encoded::without;
use super::size::{Size, trim};
use crate::model::{AttrValue, Attrs, Body, Chunk, Cleaned, LineMap};

/// Limits of one piece.
#[derive(Clone)]
pub struct Limits {
    /// Maximum number of tokens in one embedder input: context and body together. Encoded data is
    /// not part of the input.
    pub input_tokens: usize,
    /// Counts tokens as the embedder does.
    pub counter: TokenCounter,
    /// Maximum number of bytes, as JSON, of text, context, kind, name and attributes in a record's
    /// metadata: the store's limit minus what the other fields need.
    pub metadata_bytes: usize,
}

/// One chunk, ready to be embedded and stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    /// The body. Never empty.
    pub text: String,
    /// First line in the original file, 1-based.
    pub start_line: u32,
    /// Last line in the original file, 1-based, inclusive.
    pub end_line: u32,
    /// The byte range of the body in the cleaned text; `None` for generated text.
    pub range: Option<Range<usize>>,
    /// Heading path or signature, prepended to the body for the embedding.
    pub context: Option<String>,
    /// Kind of passage, such as `function` or `section`.
    pub kind: Option<String>,
    /// Name of the symbol or section.
    pub name: Option<String>,
    /// Custom attributes of a component.
    pub attrs: Attrs,
}

/// A chunk that violates the contract of [`super::Chunker`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadChunk {
    /// Index of the chunk, counted from 1.
    pub number: usize,
    /// The violation, as a clause: `its range 5..9 ends after the document (7 bytes)`.
    pub fault: String,
}

impl fmt::Display for BadChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chunk {}: {}", self.number, self.fault)
    }
}

impl std::error::Error for BadChunk {}

/// Maximum length of a name in bytes; longer ones are truncated, because names are labels, not
/// text.
const NAME_BYTES: usize = 256;

/// Validates the chunks of a chunker and makes them fit.
///
/// Oversized chunks are split (at lines, sentences or words, never inside a character) and never
/// dropped; only blank pieces are dropped. An oversized context is truncated. Returns an error for
/// the first chunk whose range is empty, outside the text, splits a character or starts or ends before
/// the previous chunk, or whose attributes leave no room for the text.
pub fn fit(cleaned: &Cleaned, chunks: Vec<Chunk>, limits: &Limits) -> Result<Vec<Piece>, BadChunk> {
    let mut pieces = Vec::with_capacity(chunks.len());
    let mut lines = LineFinder::new(cleaned);
    let mut previous = 0..0;
    for (at, chunk) in chunks.into_iter().enumerate() {
        let bad = |fault: String| BadChunk { number: at + 1, fault };
        let Chunk { body, mut context, kind, mut name, attrs } = chunk;
        if let Some(name) = &mut name {
            truncate(name, NAME_BYTES);
        }
        if let Some(context) = &mut context {
            cut_context(context, limits);
        }
        let labels = Labels { context, kind, name, attrs };
        let room = Room::new(limits, &labels).map_err(bad)?;
        let first = pieces.len();
        let piece = |text: &str, (start_line, end_line), range| Piece {
            text: text.to_owned(),
            start_line,
            end_line,
            range,
            context: None,
            kind: None,
            name: None,
            attrs: Attrs::new(),
        };
        match body {
            Body::Slice(range) => {
                check(&cleaned.text, &range, &previous).map_err(bad)?;
                previous = range.clone();
                room.parts(&cleaned.text, range, |part| {
                    let body = &cleaned.text[part.clone()];
                    if !body.trim_start().is_empty() {
                        pieces.push(piece(body, lines.of(&part), Some(part)));
                    }
                });
            }
            Body::Generated(text) => {
                let whole = lines.whole();
                generated(&room, &text, |body| pieces.push(piece(body, whole, None)));
            }
            Body::Derived(derived) => {
                check(&cleaned.text, &derived.origin, &(0..0)).map_err(bad)?;
                let passage = lines.of(&derived.origin);
                generated(&room, &derived.text, |body| pieces.push(piece(body, passage, None)));
            }
        }
        // Most chunks are one piece, which takes the labels without a copy.
        if let Some((last, others)) = pieces[first..].split_last_mut() {
            for other in others {
                labels.clone().put_on(other);
            }
            labels.put_on(last);
        }
    }
    Ok(pieces)
}

/// What a chunk says about all of its pieces.
#[derive(Clone)]
struct Labels {
    context: Option<String>,
    kind: Option<String>,
    name: Option<String>,
    attrs: Attrs,
}

impl Labels {
    fn put_on(self, piece: &mut Piece) {
        let Self { context, kind, name, attrs } = self;
        (piece.context, piece.kind, piece.name, piece.attrs) = (context, kind, name, attrs);
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        [&self.context, &self.kind, &self.name].into_iter().flatten().map(String::as_str)
    }

    /// Length in bytes as JSON.
    fn bytes(&self) -> usize {
        let attrs = self.attrs.iter().map(|(key, value)| json_len(key) + attr_len(value, json_len));
        self.texts().map(json_len).sum::<usize>() + attrs.sum::<usize>()
    }

    /// An upper bound of the same, which needs not look at the characters.
    fn bytes_at_most(&self) -> usize {
        let most = |text: &str| text.len().saturating_mul(LONGEST_ESCAPE) + 4;
        let attrs = self.attrs.iter().map(|(key, value)| most(key) + attr_len(value, most));
        self.texts().map(most).sum::<usize>() + attrs.sum::<usize>()
    }
}

/// The parts of a generated text that are not blank.
fn generated(room: &Room<'_>, text: &str, mut keep: impl FnMut(&str)) {
    room.parts(text, 0..text.len(), |part| {
        if !text[part.clone()].trim_start().is_empty() {
            keep(&text[part]);
        }
    });
}

/// Checks a range; the error is a clause for [`BadChunk::fault`].
fn check(text: &str, range: &Range<usize>, previous: &Range<usize>) -> Result<(), String> {
    let Range { start, end } = *range;
    let clause = format!("its range {start}..{end}");
    if start >= end {
        Err(format!("{clause} is empty"))
    } else if end > text.len() {
        Err(format!("{clause} ends after the document ({} bytes)", text.len()))
    } else if let Some(inside) = [start, end].into_iter().find(|&at| !text.is_char_boundary(at)) {
        let border = text.floor_char_boundary(inside);
        let character = text[border..].chars().next().unwrap_or_default();
        Err(format!("{clause} cuts the character {character:?} at byte {border}"))
    } else if start < previous.start || end < previous.end {
        Err(format!(
            "{clause} starts or ends before the previous chunk ({}..{})",
            previous.start, previous.end
        ))
    } else {
        Ok(())
    }
}

/// Space left for the body of one chunk.
struct Room<'a> {
    limits: &'a Limits,
    labels: &'a Labels,
    /// Tokens of the context, counted lazily.
    context_tokens: OnceCell<usize>,
    /// A lower bound of [`Room::bytes`], which is known without looking at the characters.
    bytes_at_least: usize,
}

/// Tokens of the separator between context and body.
const SEPARATOR_TOKENS: usize = 2;

/// Bytes of the longest escape in JSON: `\u00XX` is six bytes for one byte.
const LONGEST_ESCAPE: usize = 6;

impl<'a> Room<'a> {
    fn new(limits: &'a Limits, labels: &'a Labels) -> Result<Self, String> {
        let least = limits.metadata_bytes / 4;
        let bytes_at_least = limits.metadata_bytes.saturating_sub(labels.bytes_at_most());
        if bytes_at_least < least {
            let fixed = labels.bytes();
            if limits.metadata_bytes.saturating_sub(fixed) < least {
                return Err(format!(
                    "its attributes take {fixed} bytes and leave no room for the text (limit for both: {} bytes)",
                    limits.metadata_bytes
                ));
            }
        }
        Ok(Self { limits, labels, context_tokens: OnceCell::new(), bytes_at_least })
    }

    /// Calls `keep` with the range itself if it fits, else with the parts of it that do.
    fn parts(&self, text: &str, range: Range<usize>, mut keep: impl FnMut(Range<usize>)) {
        let body = &text[range.clone()];
        if self.tokens_fit(body) && self.bytes_fit(body) {
            return keep(range);
        }
        let mut by_tokens = vec![range.clone()];
        if !self.tokens_fit(body) {
            let counter = self.limits.counter.clone();
            let counter: TokenCounter = Arc::new(move |text: &str| counter(&without(text)));
            by_tokens = split(text, range, &Size::tokens(self.tokens(), counter));
        }
        for part in by_tokens {
            if self.bytes_fit(&text[part.clone()]) {
                keep(trim(text, part));
            } else {
                let parts = split(text, part, &Size::tokens(self.bytes(), Arc::new(escaped_len)));
                for part in parts {
                    keep(trim(text, part));
                }
            }
        }
    }

    /// Bytes available for the body as JSON.
    fn bytes(&self) -> usize {
        self.limits.metadata_bytes.saturating_sub(self.labels.bytes())
    }

    fn context(&self) -> &str {
        self.labels.context.as_deref().unwrap_or_default()
    }

    /// Tokens available for the body.
    fn tokens(&self) -> usize {
        if self.context().is_empty() {
            return self.limits.input_tokens;
        }
        let context = *self.context_tokens.get_or_init(|| (self.limits.counter)(self.context()));
        self.limits.input_tokens.saturating_sub(context + SEPARATOR_TOKENS)
    }

    fn tokens_fit(&self, body: &str) -> bool {
        // Counting costs a hundred times more than chunking. A byte is at most one token, so a text
        // with fewer bytes than the limit needs no count.
        let bytes = self.context().len() + SEPARATOR_TOKENS + body.len();
        bytes.saturating_mul(2) <= self.limits.input_tokens
            || (self.limits.counter)(&without(body)) <= self.tokens()
    }

    fn bytes_fit(&self, body: &str) -> bool {
        body.len().saturating_mul(LONGEST_ESCAPE) <= self.bytes_at_least || escaped_len(body) <= self.bytes()
    }
}

/// Truncates a context to its share: half of the input tokens, a quarter of the metadata.
fn cut_context(context: &mut String, limits: &Limits) {
    cut_json(context, limits.metadata_bytes / 4);
    let share = limits.input_tokens / 2;
    if context.len().saturating_mul(2) <= share {
        return;
    }
    let mut count = (limits.counter)(context);
    while count > share && !context.is_empty() {
        // Shrink in proportion, but by at least one byte, so that the loop ends.
        let keep = context.len().saturating_mul(share) / count;
        truncate(context, keep.min(context.len() - 1));
        count = (limits.counter)(context);
    }
}

/// Splits a range by a size that is not measured in characters.
fn split(text: &str, range: Range<usize>, size: &Size) -> Vec<Range<usize>> {
    let body = &text[range.clone()];
    let parts = size.ruler(body).split(0..body.len());
    parts.into_iter().map(|part| part.start + range.start..part.end + range.start).collect()
}

/// Length of a text in bytes inside a JSON string.
fn escaped_len(text: &str) -> usize {
    text.bytes()
        .map(|byte| match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0C => 2,
            0..b' ' => 6,
            _ => 1,
        })
        .sum()
}

/// Length in bytes of a JSON string with its quotes and the separator that follows it.
fn json_len(text: &str) -> usize {
    escaped_len(text) + 4
}

/// Length in bytes of a value as JSON. `text_len` measures a text.
fn attr_len(value: &AttrValue, text_len: impl Fn(&str) -> usize) -> usize {
    match value {
        AttrValue::Text(text) => text_len(text),
        AttrValue::Number(_) => 24,
        AttrValue::Flag(_) => 8,
        AttrValue::Texts(texts) => 4 + texts.iter().map(|text| text_len(text)).sum::<usize>(),
    }
}

/// Truncates a text to at most `max` bytes, at a character boundary.
fn truncate(text: &mut String, max: usize) {
    text.truncate(text.floor_char_boundary(max));
}

/// Truncates a text to at most `max` bytes of JSON.
fn cut_json(text: &mut String, max: usize) {
    if escaped_len(text) > max {
        let mut left = max;
        let end = text.char_indices().find_map(|(at, c)| {
            let cost = escaped_len(c.encode_utf8(&mut [0; 4]));
            if cost > left {
                return Some(at);
            }
            left -= cost;
            None
        });
        truncate(text, end.unwrap_or(max));
    }
}

/// Computes line numbers in one pass; pieces arrive in order.
struct LineFinder<'a> {
    text: &'a [u8],
    map: &'a LineMap,
    start: Cursor,
    end: Cursor,
}

/// A byte offset and the number of newlines before it.
#[derive(Clone, Copy, Default)]
struct Cursor {
    at: usize,
    newlines: usize,
}

impl Cursor {
    fn line_at(&mut self, text: &[u8], at: usize) -> usize {
        // The offset decreases only if an oversized chunk was split and the next chunk overlaps it.
        if at < self.at {
            self.newlines -= memchr::memchr_iter(b'\n', &text[at..self.at]).count();
        } else {
            self.newlines += memchr::memchr_iter(b'\n', &text[self.at..at]).count();
        }
        self.at = at;
        self.newlines
    }
}

impl<'a> LineFinder<'a> {
    fn new(cleaned: &'a Cleaned) -> Self {
        let (text, map) = (cleaned.text.as_bytes(), &cleaned.lines);
        Self { text, map, start: Cursor::default(), end: Cursor::default() }
    }

    /// First and last line of a piece.
    fn of(&mut self, range: &Range<usize>) -> (u32, u32) {
        let first = self.start.line_at(self.text, range.start);
        if self.end.at < range.start {
            self.end = self.start;
        }
        // A trailing newline belongs to the line it terminates.
        let last = self.end.line_at(self.text, range.end - 1);
        (self.map.original(first), self.map.original(last))
    }

    /// First and last line of the document.
    fn whole(&mut self) -> (u32, u32) {
        let last = self.end.line_at(self.text, self.text.len().saturating_sub(1));
        (1, self.map.original(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(text: &str) -> Cleaned {
        Cleaned { text: text.into(), lines: LineMap::Identity }
    }

    fn limits(input_tokens: usize, metadata_bytes: usize) -> Limits {
        // One token per word.
        Limits {
            input_tokens,
            counter: Arc::new(|text: &str| text.split_whitespace().count()),
            metadata_bytes,
        }
    }

    fn texts(pieces: &[Piece]) -> Vec<(&str, u32, u32)> {
        pieces.iter().map(|piece| (piece.text.as_str(), piece.start_line, piece.end_line)).collect()
    }

    #[test]
    fn violations_of_the_contract_are_named() {
        for (ranges, message) in [
            (&[(0, 2), (3, 99)][..], "chunk 2: its range 3..99 ends after the document (8 bytes)"),
            (&[(2, 2)], "chunk 1: its range 2..2 is empty"),
            (&[(0, 2), (2, 5)], "chunk 2: its range 2..5 cuts the character 'ß' at byte 4"),
            (&[(5, 8)], "chunk 1: its range 5..8 cuts the character 'ß' at byte 4"),
            (&[(2, 4), (0, 6)], "chunk 2: its range 0..6 starts or ends before the previous chunk (2..4)"),
            (&[(0, 6), (2, 4)], "chunk 2: its range 2..4 starts or ends before the previous chunk (0..6)"),
        ] {
            let chunks = ranges.iter().map(|&(start, end)| Chunk::slice(start..end)).collect();
            let error = fit(&cleaned("Straße!"), chunks, &limits(100, 1000)).expect_err(message);
            assert_eq!(error.to_string(), message);
        }
        let mut chunk = Chunk::slice(0..1);
        chunk.attrs = vec![("big".into(), AttrValue::Text("x".repeat(900)))];
        let error = fit(&cleaned("a"), vec![chunk], &limits(100, 1000)).expect_err("too large attributes");
        assert!(error.to_string().starts_with("chunk 1: its attributes take"), "{error}");
    }

    #[test]
    fn lines_are_those_of_the_original() {
        let text = "one\ntwo\n\nfour\nfive";
        let chunks = vec![Chunk::slice(0..3), Chunk::slice(0..8), Chunk::slice(4..13), Chunk::slice(9..18)];
        let pieces = fit(&cleaned(text), chunks.clone(), &limits(100, 1000)).expect("good chunks");
        assert_eq!(
            texts(&pieces),
            [("one", 1, 1), ("one\ntwo\n", 1, 2), ("two\n\nfour", 2, 4), ("four\nfive", 4, 5)]
        );
        let folded = Cleaned { text: text.into(), lines: LineMap::Folded(vec![1, 2, 3, 7, 8]) };
        let pieces = fit(&folded, chunks, &limits(100, 1000)).expect("good chunks");
        assert_eq!((pieces[2].start_line, pieces[2].end_line), (2, 7));
        assert_eq!((pieces[3].start_line, pieces[3].end_line), (7, 8));
    }

    #[test]
    fn generated_text_has_the_lines_of_the_document() {
        let chunk = Chunk { body: Body::Generated("made up".into()), ..Chunk::slice(0..1) };
        let pieces = fit(&cleaned("a\nb\n"), vec![chunk], &limits(100, 1000)).expect("good chunks");
        assert_eq!(texts(&pieces), [("made up", 1, 2)]);
        assert_eq!(pieces[0].range, None);
    }

    #[test]
    fn too_long_is_split_and_blank_is_dropped() {
        let text = "a b c d e f\n \n\ng";
        let chunks = vec![Chunk::slice(0..11), Chunk::slice(11..14), Chunk::slice(15..16)];
        let pieces = fit(&cleaned(text), chunks, &limits(4, 1000)).expect("good chunks");
        assert_eq!(texts(&pieces), [("a b c d", 1, 1), ("e f", 1, 1), ("g", 4, 4)]);

        let long = "wörd \"q\"\n".repeat(40);
        let pieces =
            fit(&cleaned(&long), vec![Chunk::slice(0..long.len())], &limits(1000, 100)).expect("good");
        assert!(pieces.len() > 4);
        for piece in &pieces {
            assert!(serde_json::to_string(&piece.text).expect("serializes").len() <= 102, "{piece:?}");
        }
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(pieces.iter().flat_map(|piece| words(&piece.text)).collect::<Vec<_>>(), words(&long));
        assert_eq!(pieces.last().map(|piece| piece.end_line), Some(40));
    }

    #[test]
    fn the_context_counts_and_is_cut() {
        let mut chunk = Chunk::slice(0..15);
        chunk.context = Some("Guide > Install > Linux > Debian > Old".into());
        let pieces = fit(&cleaned("a b c d e f g h"), vec![chunk], &limits(10, 1000)).expect("good chunks");
        for piece in &pieces {
            let context = piece.context.as_deref().expect("the context is kept");
            assert!("Guide > Install > Linux > Debian > Old".starts_with(context));
            let tokens = context.split_whitespace().count() + piece.text.split_whitespace().count();
            assert!(tokens <= 10, "{piece:?}");
        }
        assert!(pieces.len() > 1);
    }
}
