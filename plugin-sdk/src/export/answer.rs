//! The result of `split` in memory, as the host reads it: the records of `wit/chunker.wit` in the
//! layout of the canonical ABI, with pointers to the existing texts. Generated bindings would
//! allocate memory for every record, list and text.
//!
//! The layout is that of a component: 32-bit addresses, little endian. Code in this module never
//! dereferences the pointers; the host does, and validates them.

use crate::{AttrValue, Chunk, ChunkError, Content, Diagnostic, Severity};

/// Pointer and length of a text (in bytes) or a list (in items).
type Place = [u32; 2];

/// The result of one call. It must not move until the host has read it.
#[derive(Debug)]
pub(crate) struct Answer {
    /// `result<list<chunk>, chunk-error>`
    result: [u32; 4],
    /// `chunk`, 56 bytes each.
    chunks: Vec<[u32; 14]>,
    /// `tuple<string, attr-value>`, 24 bytes each, of all chunks. An array of 8-byte words, because
    /// a number must be aligned to 8 bytes.
    attrs: Vec<[u64; 3]>,
    /// `list<string>`, for attributes with several texts.
    texts: Vec<Vec<Place>>,
    /// `diagnostic`, 44 bytes each.
    diagnostics: Vec<[u32; 11]>,
    /// The values that the records point to.
    kept: Result<Vec<Chunk>, ChunkError>,
}

impl Answer {
    pub(crate) const fn new() -> Self {
        Self {
            result: [0; 4],
            chunks: Vec::new(),
            attrs: Vec::new(),
            texts: Vec::new(),
            diagnostics: Vec::new(),
            kept: Ok(Vec::new()),
        }
    }

    /// Stores a result in the ABI layout; returns the address of its `result`.
    pub(crate) fn set(&mut self, answer: Result<Vec<Chunk>, ChunkError>) -> *const u32 {
        self.clear();
        self.kept = answer;
        let Self { chunks, attrs, texts, diagnostics, .. } = self;
        self.result = match &self.kept {
            Ok(given) => {
                // Reserve up front: the address of an item must not change.
                chunks.reserve(given.len());
                attrs.reserve(given.iter().map(|chunk| chunk.attrs.len()).sum());
                for chunk in given {
                    let first = attrs.len();
                    attrs.extend(chunk.attrs.iter().map(|(name, value)| attr(name, value, texts)));
                    chunks.push(record(chunk, list(&attrs[first..])));
                }
                let [place, count] = list(chunks);
                [0, place, count, 0]
            }
            Err(ChunkError::NotMine) => [1, 0, 0, 0],
            Err(ChunkError::BadDocument(given)) => {
                diagnostics.extend(given.iter().map(diagnostic));
                let [place, count] = list(diagnostics);
                [1, 1, place, count]
            }
            Err(ChunkError::Failed(reason)) => {
                let [place, length] = text(reason);
                [1, 2, place, length]
            }
        };
        self.result.as_ptr()
    }

    /// Drops the result after the host has read it. The capacity of the record lists is reused.
    pub(crate) fn clear(&mut self) {
        self.chunks.clear();
        self.attrs.clear();
        self.texts.clear();
        self.diagnostics.clear();
        self.kept = Ok(Vec::new());
    }
}

fn record(chunk: &Chunk, attrs: Place) -> [u32; 14] {
    let content = match &chunk.content {
        Content::Slice(range) => [0, number(range.start), number(range.end)],
        Content::Generated(passage) => {
            let [place, length] = text(passage);
            [1, place, length]
        }
    };
    let context = optional(chunk.context.as_deref());
    let kind = optional(chunk.kind.as_deref());
    let name = optional(chunk.name.as_deref());
    [
        content[0], content[1], content[2], context[0], context[1], context[2], kind[0], kind[1], kind[2],
        name[0], name[1], name[2], attrs[0], attrs[1],
    ]
}

fn attr(name: &str, value: &AttrValue, lists: &mut Vec<Vec<Place>>) -> [u64; 3] {
    let (tag, value) = match value {
        AttrValue::Text(value) => (0, word(text(value))),
        AttrValue::Number(number) => (1, number.to_bits()),
        AttrValue::Flag(flag) => (2, u64::from(*flag)),
        AttrValue::Texts(texts) => {
            let texts: Vec<_> = texts.iter().map(|it| text(it)).collect();
            let place = list(&texts);
            lists.push(texts);
            (3, word(place))
        }
    };
    [word(text(name)), tag, value]
}

fn diagnostic(given: &Diagnostic) -> [u32; 11] {
    let severity = match given.severity {
        Severity::Error => 0,
        Severity::Warning => 1,
        Severity::Note => 2,
    };
    let (code, message) = (text(&given.code), text(&given.message));
    let pointer = optional(given.pointer.as_deref());
    let at = given.at.as_ref().map_or([0; 3], |range| [1, number(range.start), number(range.end)]);
    [
        severity, code[0], code[1], message[0], message[1], pointer[0], pointer[1], pointer[2], at[0], at[1],
        at[2],
    ]
}

fn optional(value: Option<&str>) -> [u32; 3] {
    let [place, length] = value.map_or([0; 2], text);
    [u32::from(value.is_some()), place, length]
}

fn text(text: &str) -> Place {
    list(text.as_bytes())
}

#[expect(clippy::cast_possible_truncation, reason = "addresses have 32 bits in a component")]
fn list<T>(items: &[T]) -> Place {
    [items.as_ptr().expose_provenance() as u32, number(items.len())]
}

/// Component memory has 32-bit addresses, so every offset and length fits.
fn number(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Two 4-byte words in memory order.
fn word([first, second]: Place) -> u64 {
    u64::from(first) | u64::from(second) << 32
}

#[cfg(test)]
mod tests;
