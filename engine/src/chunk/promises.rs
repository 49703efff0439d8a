//! What every built-in chunker promises, checked over any file. For property tests and fuzzing.

use std::ops::Range;
use std::sync::Arc;

use super::{
    Chunker, CodeChunker, CodeSettings, Limits, MarkdownChunker, MarkdownSettings, SentenceChunker,
    SentenceSettings, TokenCounter, clean,
    encoded::{self, Encoded},
    fit, language_of,
};
use crate::model::fuzzed::Reader;
use crate::model::{Body, Chunk, Cleaned, Document};

/// A tokenizer whose parts do not sum up: a token for each started run of three bytes of a word,
/// and two marks around every text.
pub(super) fn counter() -> TokenCounter {
    Arc::new(|text: &str| 2 + text.split_whitespace().map(|word| word.len().div_ceil(3)).sum::<usize>())
}

/// Every built-in chunker with pieces of at most so many characters, or tokens: sentence, sentence
/// on the text as it stands, Markdown, code.
pub(super) fn chunkers(max: usize, tokens: bool) -> [Box<dyn Chunker>; 4] {
    let max_tokens = tokens.then_some(max);
    let overlap = max / 4;
    let sentence = SentenceSettings {
        max_chunk_size: max,
        chunk_overlap: overlap,
        max_tokens,
        overlap_tokens: tokens.then_some(overlap),
        ..SentenceSettings::default()
    };
    let plain = SentenceSettings { normalize_whitespace: false, chunk_overlap: 0, ..sentence.clone() };
    let markdown = MarkdownSettings { max_chunk_size: max, max_tokens, ..MarkdownSettings::default() };
    let code = CodeSettings { max_chunk_size: max, max_tokens, ..CodeSettings::default() };
    [
        Box::new(SentenceChunker::new("s", &sentence, Some(counter())).expect("valid settings")),
        Box::new(SentenceChunker::new("s", &plain, Some(counter())).expect("valid settings")),
        Box::new(MarkdownChunker::new("m", &markdown, Some(counter())).expect("valid settings")),
        Box::new(CodeChunker::new("c", &code, Some(counter())).expect("valid settings")),
    ]
}

/// Checks one document against every promise.
pub(super) fn check(chunker: &dyn Chunker, path: &str, file: &[u8], size: &dyn Fn(&str) -> bool) {
    let Ok(cleaned) = clean(file) else { return };
    let original = cleaned.clone();
    let cleaned = chunker.prepare(cleaned);
    let text = cleaned.text.as_str();
    let document = Document { path, text, language: super::language_of(path) };
    let chunks = chunker.chunk(&document).expect("a built-in chunker takes every text");
    assert_eq!(chunks, chunker.chunk(&document).expect("a second time too"), "the same chunks again");

    check_chunks(chunker, &document, &chunks, &|range| size(&text[range]));
    // Without encoded data in its sight a chunker gives chunks that fit without it.
    let encoded = Encoded::of(text);
    if !encoded.is_empty() {
        let chunks = encoded::chunk(chunker, &document, &encoded).expect("the same chunker");
        check_chunks(chunker, &document, &chunks, &|range| size(&encoded.outside(text, range)));
    }

    let limits = Limits { input_tokens: 8191, counter: counter(), metadata_bytes: 30_000 };
    let count = chunks.len();
    let pieces = fit(&cleaned, chunks, &limits).expect("a built-in chunker keeps the contract");
    assert_eq!(pieces.len(), count, "nothing to split");
    let lines: Vec<&str> = original.text.split('\n').collect();
    if lines.iter().any(|line| line.len() > 10_000) {
        return; // the naive comparison would take minutes
    }
    for piece in pieces {
        check_lines(&lines, &cleaned, &piece);
    }
}

/// Chunks are in order, leave no gap, and fit.
fn check_chunks(
    chunker: &dyn Chunker,
    document: &Document<'_>,
    chunks: &[Chunk],
    fits: &dyn Fn(Range<usize>) -> bool,
) {
    let text = document.text;
    let (mut covered, mut start) = (0, 0);
    for chunk in chunks {
        let Body::Slice(range) = &chunk.body else { panic!("generated text") };
        assert!(document.holds(range), "{range:?}");
        assert!(range.start >= start && range.end >= covered, "in order: {range:?}");
        start = range.start;
        if range.start > covered {
            assert_eq!(text[covered..range.start].trim(), "", "a gap before {range:?}");
        }
        covered = range.end;
        let body = &text[range.clone()];
        assert!(
            fits(range.clone()) || body.trim().chars().count() == 1,
            "{} is too large: {body:?}",
            chunker.identity()
        );
        assert_ne!(body.trim(), "", "{range:?} is blank");
    }
    assert_eq!(text[covered..].trim(), "", "a gap at the end");
}

/// The lines that a piece names hold its words, and its first and last line hold something of it.
fn check_lines(lines: &[&str], cleaned: &Cleaned, piece: &super::Piece) {
    let range = piece.range.clone().expect("a slice");
    assert_eq!(piece.text, cleaned.text[range.clone()]);
    let (first, last) = (piece.start_line as usize, piece.end_line as usize);
    assert!(1 <= first && first <= last && last <= lines.len(), "{first}..{last}");
    let shown = lines[first - 1..last].join("\n");
    let words = |text: &str| {
        text.split([' ', '\t', '\n']).filter(|w| !w.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(words(&shown).join(" ").contains(&words(&piece.text).join(" ")), "{:?} in {shown:?}", piece.text);
    for (edge, line) in
        [(piece.text.lines().next(), lines[first - 1]), (piece.text.lines().last(), lines[last - 1])]
    {
        let edge = words(edge.unwrap_or_default()).join(" ");
        assert!(words(line).join(" ").contains(&edge), "{edge:?} in {line:?}");
    }
}

/// A fuzz target: `sentence`, with and without its folding of blanks.
pub fn fuzz_sentence(bytes: &[u8]) {
    fuzz(bytes, &[0, 1], &["a.txt"]);
}

/// A fuzz target: `markdown`.
pub fn fuzz_markdown(bytes: &[u8]) {
    fuzz(bytes, &[2], &["a.md"]);
}

/// A file name for each language with a grammar.
pub(super) const CODE_PATHS: [&str; 23] = [
    "a.rs", "a.py", "a.js", "a.ts", "a.tsx", "a.go", "a.java", "a.c", "a.cpp", "a.cs", "a.rb", "a.php",
    "a.kt", "a.swift", "a.scala", "a.sh", "a.sql", "a.tf", "a.yaml", "a.toml", "a.json", "a.html", "a.css",
];

/// A fuzz target: `code`, a language by the third byte.
pub fn fuzz_code(bytes: &[u8]) {
    fuzz(bytes, &[3], &CODE_PATHS);
}

/// The size, its unit and the path by the first three bytes, the file by the rest.
fn fuzz(bytes: &[u8], which: &[usize], paths: &[&str]) {
    let mut bytes = Reader(bytes);
    let (max, unit, path) = (usize::from(bytes.byte()), bytes.byte(), usize::from(bytes.byte()));
    let tokens = unit % 2 == 1;
    // A token for the word's beginning and two marks: less holds no character.
    let max = max.max(if tokens { 4 } else { 1 });
    let counter = counter();
    let fits = |body: &str| if tokens { counter(body) <= max } else { body.chars().count() <= max };
    let chunkers = chunkers(max, tokens);
    for &number in which {
        check(&*chunkers[number], paths[path % paths.len()], bytes.0, &fits);
    }
}

/// A fuzz target: cleaning, and the language by name.
pub fn fuzz_clean(bytes: &[u8]) {
    let Ok(cleaned) = clean(bytes) else { return };
    let text = cleaned.text.as_str();
    assert!(!text.trim_start().is_empty(), "there is something to index");
    assert!(!text.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "{text:?}");
    language_of(text.lines().next().unwrap_or_default());
}
