//! Golden outputs: the chunks of a document in the format of `plugin test --json`, stored next to
//! it as `FILE.chunks.json`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::{AttrValue, Body, Chunk};

/// A chunk with its text and position.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GoldenChunk {
    /// First and last line, from 1; `None` for text that was made of no passage of the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) lines: Option<(usize, usize)>,
    /// The half-open byte range in the cleaned text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<(usize, usize)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) context: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) attrs: Vec<(String, AttrValue)>,
    pub(super) text: String,
}

/// The chunks of a text in the golden format.
pub(super) fn of(text: &str, chunks: &[Chunk]) -> Vec<GoldenChunk> {
    // Chunks are sorted by their start, so lines are counted incrementally.
    let (mut counted, mut line) = (0, 1);
    chunks
        .iter()
        .map(|chunk| {
            let (lines, bytes, body) = match &chunk.body {
                Body::Slice(range) => {
                    line += newlines(&text[counted..range.start]);
                    counted = range.start;
                    let body = &text[range.clone()];
                    let last = line + newlines(body.strip_suffix('\n').unwrap_or(body));
                    (Some((line, last)), Some((range.start, range.end)), body)
                }
                Body::Generated(text) => (None, None, text.as_str()),
                Body::Derived(derived) => {
                    let first = newlines(&text[..derived.origin.start]) + 1;
                    let passage = &text[derived.origin.clone()];
                    let last = first + newlines(passage.strip_suffix('\n').unwrap_or(passage));
                    (Some((first, last)), None, derived.text.as_str())
                }
            };
            GoldenChunk {
                lines,
                bytes,
                kind: chunk.kind.clone(),
                name: chunk.name.clone(),
                context: chunk.context.clone(),
                attrs: chunk.attrs.clone(),
                text: body.to_owned(),
            }
        })
        .collect()
}

fn newlines(text: &str) -> usize {
    memchr::memchr_iter(b'\n', text.as_bytes()).count()
}

/// The path of a document's golden output.
pub(super) fn path(document: &Path) -> PathBuf {
    let mut path = document.as_os_str().to_owned();
    path.push(".chunks.json");
    path.into()
}

pub(super) fn text(chunks: &[GoldenChunk]) -> String {
    let mut text = serde_json::to_string_pretty(chunks).expect("texts and finite numbers are JSON");
    text.push('\n');
    text
}

/// The first difference in one line; `None` if there is none.
pub(super) fn difference(golden: &[GoldenChunk], now: &[GoldenChunk]) -> Option<String> {
    let number = golden.iter().zip(now).position(|(golden, now)| golden != now);
    let Some(index) = number else {
        return (golden.len() != now.len())
            .then(|| format!("{} chunks, expected {}", now.len(), golden.len()));
    };
    let (golden, now) = (&golden[index], &now[index]);
    let what = [
        ("text", golden.text != now.text),
        ("kind", golden.kind != now.kind),
        ("name", golden.name != now.name),
        ("context", golden.context != now.context),
        ("attributes", golden.attrs != now.attrs),
        ("place", golden.bytes != now.bytes || golden.lines != now.lines),
    ];
    let what: Vec<_> = what.iter().filter(|(_, differs)| *differs).map(|(what, _)| *what).collect();
    Some(format!("chunk {} differs in {}", index + 1, what.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_bytes_say_where_a_chunk_stands() {
        let text = "a\nb\nc\nd\n";
        let golden = of(text, &[Chunk::slice(0..4), Chunk::slice(2..5), Chunk::slice(6..8)]);
        let places: Vec<_> = golden.iter().map(|chunk| chunk.lines).collect();
        assert_eq!(places, [Some((1, 2)), Some((2, 3)), Some((4, 4))]);
        let read: Vec<GoldenChunk> = serde_json::from_str(&super::text(&golden)).expect("read again");
        assert_eq!(read, golden);
    }

    #[test]
    fn the_first_difference_is_named() {
        let text = "a\nb\n";
        let one = of(text, &[Chunk::slice(0..2), Chunk::slice(2..4)]);
        let mut two = one.clone();
        assert_eq!(difference(&one, &two), None);
        two[1].name = Some("b".into());
        assert_eq!(difference(&one, &two).as_deref(), Some("chunk 2 differs in name"));
        assert_eq!(difference(&one, &one[..1]).as_deref(), Some("1 chunks, expected 2"));
    }
}
