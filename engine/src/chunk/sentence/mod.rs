//! `kind = "sentence"`: windows of at most `max_chunk_size` characters. They end after a blank
//! line, a line or a sentence if possible, and neighbours overlap by up to `chunk_overlap`.

mod config;
mod settings;
mod windows;

pub use settings::SentenceSettings;

use super::size::{Size, trim};
use super::{ChunkError, Chunker, Named, TokenCounter};
use crate::model::{Chunk, Cleaned, Document, LineMap, StageResult};

/// Bump when the same document and settings would give different chunks.
const VERSION: u32 = 3;

/// Cuts any text at blank lines, lines and sentences.
pub struct SentenceChunker {
    named: Named,
    size: Size,
    /// Maximum overlap of neighbouring windows, in the unit of `size`.
    overlap: usize,
    fold: bool,
}

impl SentenceChunker {
    /// `counter` counts tokens as the embedder does; required if the settings set `max_tokens`.
    pub fn new(stage: &str, settings: &SentenceSettings, counter: Option<TokenCounter>) -> StageResult<Self> {
        let size = super::size_of(stage, settings.max_chunk_size, settings.max_tokens, counter)?;
        let overlap = settings.overlap();
        let fold = settings.normalize_whitespace;
        let identity = format!("sentence/{VERSION} {} overlap={overlap} fold={fold}", size.describe());
        let named = Named::new(stage, identity, format!("sentence {VERSION}"), settings.patterns.as_deref())?;
        Ok(Self { named, size, overlap, fold })
    }
}

impl Chunker for SentenceChunker {
    fn named(&self) -> &Named {
        &self.named
    }

    fn matches(&self, path: &str) -> bool {
        self.named.takes(path, || true)
    }

    fn prepare(&self, cleaned: Cleaned) -> Cleaned {
        if self.fold { fold(cleaned) } else { cleaned }
    }

    fn chunk(&self, document: &Document<'_>) -> Result<Vec<Chunk>, ChunkError> {
        let ruler = self.size.ruler(document.text);
        let ranges = if ruler.exact() {
            windows::by_chars(&ruler, self.overlap)
        } else {
            windows::by_tokens(&ruler.atoms(0..document.text.len()), &ruler, self.overlap)
        };
        let mut chunks: Vec<Chunk> = Vec::with_capacity(ranges.len());
        let mut covered = 0;
        for range in ranges {
            let range = trim(document.text, range);
            // Skip a window that only repeats the overlap.
            if !range.is_empty() && range.end > covered {
                covered = range.end;
                chunks.push(Chunk::slice(range));
            }
        }
        Ok(chunks)
    }
}

/// Collapses runs of spaces and tabs into one space and runs of empty lines into one, and strips
/// trailing blanks. The line map records the original numbers of the remaining lines.
fn fold(cleaned: Cleaned) -> Cleaned {
    let text = cleaned.text.as_str();
    let mut folded = String::with_capacity(text.len());
    let mut lines: Vec<u32> = Vec::new();
    let (mut dropped, mut empty_before) = (false, false);
    let mut start = 0;
    for (number, end) in memchr::memchr_iter(b'\n', text.as_bytes()).chain([text.len()]).enumerate() {
        let line = text[start..end].trim_end_matches([' ', '\t']);
        let terminated = end < text.len();
        start = end + 1;
        if line.is_empty() && empty_before && terminated {
            dropped = true;
            continue;
        }
        empty_before = line.is_empty();
        lines.push(cleaned.lines.original(number));
        fold_line(line, &mut folded);
        if terminated {
            folded.push('\n');
        }
    }
    let lines = if dropped { LineMap::Folded(lines) } else { cleaned.lines };
    Cleaned { text: folded, lines }
}

#[expect(clippy::needless_bitwise_bool, reason = "a branch-free loop can be vectorized")]
fn fold_line(line: &str, folded: &mut String) {
    let body = line.trim_start_matches([' ', '\t']);
    if body.len() < line.len() {
        folded.push(' ');
    }
    // Runs are rare after the indentation; scanning without an early exit can be vectorized.
    let bytes = body.as_bytes();
    let pairs = bytes.iter().zip(bytes.get(1..).unwrap_or_default());
    let runs = pairs
        .fold(false, |seen, (&a, &b)| seen | (a == b'\t') | ((a == b' ') & ((b == b' ') | (b == b'\t'))));
    if !runs {
        folded.push_str(body);
        return;
    }
    let mut words = body.split([' ', '\t']).filter(|word| !word.is_empty());
    if let Some(first) = words.next() {
        folded.push_str(first);
    }
    for word in words {
        folded.push(' ');
        folded.push_str(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Body;

    fn settings(max: usize, overlap: usize) -> SentenceSettings {
        SentenceSettings { max_chunk_size: max, chunk_overlap: overlap, ..SentenceSettings::default() }
    }

    fn chunks(text: &str, settings: &SentenceSettings) -> Vec<String> {
        let chunker = SentenceChunker::new("s", settings, None).expect("valid settings");
        let cleaned = chunker.prepare(Cleaned { text: text.into(), lines: LineMap::Identity });
        let document = Document { path: "a.txt", text: &cleaned.text, language: None, ..Document::default() };
        let chunks = chunker.chunk(&document).expect("built-in chunkers accept any text");
        chunks
            .into_iter()
            .map(|chunk| match chunk.body {
                Body::Slice(range) => cleaned.text[range].to_owned(),
                Body::Generated(text) => text,
                Body::Derived(derived) => derived.text,
            })
            .collect()
    }

    #[test]
    fn windows_end_after_sentences_else_words_else_anywhere() {
        for (max, overlap, text, expected) in [
            (100, 20, "Short.", &["Short."][..]),
            (19, 0, "One two. Three four. Five six.", &["One two. Three", "four. Five six."]),
            (20, 0, "One two. Three four. Five six.", &["One two. Three four.", "Five six."]),
            (12, 0, "Version 1.2 works", &["Version 1.2", "works"]),
            (10, 0, "aaaa bbbb cccc", &["aaaa bbbb", "cccc"]),
            (4, 0, "abcdefghij", &["abcd", "efgh", "ij"]),
            (4, 0, "äöüßäö", &["äöüß", "äö"]),
            (10, 0, "Ist es? \"Ja!\" sagt er", &["Ist es?", "\"Ja!\"", "sagt er"]),
            (5, 0, "你好。世界你好。", &["你好。", "世界你好。"]),
            (22, 13, "One two. Three four. Five six.", &["One two. Three four.", "Three four. Five six."]),
            (10, 5, "aaaa bbbb cccc dddd", &["aaaa bbbb", "bbbb cccc", "cccc dddd"]),
            (4, 2, "abcdefgh", &["abcd", "cdef", "efgh"]),
        ] {
            assert_eq!(chunks(text, &settings(max, overlap)), expected, "{max} {overlap} {text:?}");
        }
    }

    #[test]
    fn white_space_is_collapsed_and_line_numbers_are_kept() {
        let chunker = SentenceChunker::new("s", &settings(100, 0), None).expect("valid settings");
        for (text, folded, lines) in [
            ("a  b\t\tc \t d", "a b c d", LineMap::Identity),
            ("a \nb\n", "a\nb\n", LineMap::Identity),
            ("  a\n    b", " a\n b", LineMap::Identity),
            ("a\n\nb", "a\n\nb", LineMap::Identity),
            ("a\n\n \n\t\n\nb\nc", "a\n\nb\nc", LineMap::Folded(vec![1, 2, 6, 7])),
            ("\n\n\na\n\n\n", "\na\n\n", LineMap::Folded(vec![1, 4, 5, 7])),
            ("a\u{A0} b", "a\u{A0} b", LineMap::Identity),
        ] {
            let prepared = chunker.prepare(Cleaned { text: text.into(), lines: LineMap::Identity });
            assert_eq!((prepared.text.as_str(), &prepared.lines), (folded, &lines), "{text:?}");
        }
        let plain = SentenceSettings { normalize_whitespace: false, ..settings(100, 0) };
        assert_eq!(chunks("a  b\n\n\n\nc", &plain), ["a  b\n\n\n\nc"]);
    }

    #[test]
    fn the_identity_names_what_matters() {
        let identity = |settings: &SentenceSettings| {
            let counter: TokenCounter = std::sync::Arc::new(str::len);
            SentenceChunker::new("s", settings, Some(counter)).expect("valid settings").identity().to_owned()
        };
        let base = settings(100, 10);
        assert_eq!(identity(&base), "sentence/3 chars=100 overlap=10 fold=true");
        let tokens = SentenceSettings { max_tokens: Some(50), ..base.clone() };
        assert_eq!(identity(&tokens), "sentence/3 tokens/3=50 overlap=10 fold=true");
        let matching = SentenceSettings { patterns: Some(vec!["*.md".into()]), ..base.clone() };
        assert_eq!(identity(&matching), identity(&base));
    }
}
