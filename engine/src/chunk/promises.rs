//! Checks that every built-in chunker keeps its guarantees, for property tests and fuzzing.

use std::ops::Range;
use std::sync::Arc;

use super::code::{CodeChunker, CodeSettings};
use super::encoded::{self, Encoded};
use super::markdown::{MarkdownChunker, MarkdownSettings};
use super::pattern::{PatternChunker, PatternSettings};
use super::sentence::{SentenceChunker, SentenceSettings};
use super::{Chunker, Limits, TokenCounter, clean, fit, language_of};
use crate::model::fuzzed::Reader;
use crate::model::{Body, Chunk, Cleaned, Document};

/// A tokenizer whose counts are not additive: one token per three bytes of a word, rounded up, plus
/// a start and an end mark for every text.
pub(super) fn counter() -> TokenCounter {
    Arc::new(|text: &str| 2 + text.split_whitespace().map(|word| word.len().div_ceil(3)).sum::<usize>())
}

/// All built-in chunkers with pieces of at most `max` characters or tokens: sentence, sentence
/// without normalization, Markdown, code.
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

/// Chunkers of kind `pattern` with every feature: comments above a start, ends, templates, ends on the
/// line of a start, rows with a header.
pub(super) fn patterns(max: usize, tokens: bool) -> Vec<Box<dyn Chunker>> {
    let sections = PatternSettings {
        end: Some(r"^\s*\}|^end".to_owned()),
        comment: Some(r"^\s*(#|//|--|>)".to_owned()),
        ..PatternSettings::starting_at(r"^\s*(?<kind>\w+) +(?<name>\w+)(?<rest>.*)\{?")
    };
    let templates = PatternSettings {
        context: Some("{level}: {name}".to_owned()),
        ..PatternSettings::starting_at(r"(?<level>#+) (?<name>.*)|^\s*$")
    };
    let elements = PatternSettings {
        end: Some("</|/>".to_owned()),
        context: Some("none".to_owned()),
        ..PatternSettings::starting_at("<(?<kind>[a-z]+)")
    };
    let all = [sections, templates, elements, PatternSettings::of_rows(3, 1), PatternSettings::of_rows(1, 2)];
    let all = all.map(|settings| PatternSettings {
        max_chunk_size: max,
        max_tokens: tokens.then_some(max),
        ..settings
    });
    let built = all.iter().map(|settings| PatternChunker::new("p", settings, Some(counter())));
    built.map(|chunker| -> Box<dyn Chunker> { Box::new(chunker.expect("valid settings")) }).collect()
}

/// Checks one document against every guarantee.
pub(super) fn check(chunker: &dyn Chunker, path: &str, file: &[u8], size: &dyn Fn(&str) -> bool) {
    let Ok(cleaned) = clean(file) else { return };
    let original = cleaned.clone();
    let cleaned = chunker.prepare(cleaned);
    let text = cleaned.text.as_str();
    let document = Document { path, text, language: super::language_of(path), ..Document::default() };
    let chunks = chunker.chunk(&document).expect("built-in chunkers accept any text");
    assert_eq!(
        chunks,
        chunker.chunk(&document).expect("built-in chunkers accept any text"),
        "the same chunks again"
    );

    check_chunks(chunker, &document, &chunks, &|range| size(&text[range]));
    // Chunks of the abridged text must fit when encoded data is not counted.
    let encoded = Encoded::of(text);
    if !encoded.is_empty() {
        let chunks = encoded::chunk(chunker, &document, &encoded).expect("built-in chunkers accept any text");
        check_chunks(chunker, &document, &chunks, &|range| size(&encoded.outside(text, range)));
    }

    let limits = Limits { input_tokens: 8191, counter: counter(), metadata_bytes: 30_000 };
    let count = chunks.len();
    let pieces = fit(&cleaned, chunks, &limits).expect("built-in chunkers satisfy the contract");
    assert_eq!(pieces.len(), count, "nothing to split");
    let lines: Vec<&str> = original.text.split('\n').collect();
    if lines.iter().any(|line| line.len() > 10_000) {
        return; // the quadratic check below would take minutes
    }
    for piece in pieces {
        check_lines(&lines, &cleaned, &piece);
    }
}

/// Checks that chunks are in order, leave no gap, and fit.
fn check_chunks(
    chunker: &dyn Chunker,
    document: &Document<'_>,
    chunks: &[Chunk],
    fits: &dyn Fn(Range<usize>) -> bool,
) {
    let text = document.text;
    let (mut covered, mut start) = (0, 0);
    for chunk in chunks {
        let Body::Slice(range) = &chunk.body else { panic!("expected a slice") };
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

/// Checks that a piece's line range contains its words, and that its first and last line each hold
/// one of them.
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

/// Fuzz target: `sentence`, with and without white-space normalization.
pub fn fuzz_sentence(bytes: &[u8]) {
    fuzz(bytes, &[0, 1], &["a.txt"]);
}

/// Fuzz target: `markdown`.
pub fn fuzz_markdown(bytes: &[u8]) {
    fuzz(bytes, &[2], &["a.md"]);
}

/// One file name per language with a grammar.
pub(super) const CODE_PATHS: [&str; 23] = [
    "a.rs", "a.py", "a.js", "a.ts", "a.tsx", "a.go", "a.java", "a.c", "a.cpp", "a.cs", "a.rb", "a.php",
    "a.kt", "a.swift", "a.scala", "a.sh", "a.sql", "a.tf", "a.yaml", "a.toml", "a.json", "a.html", "a.css",
];

/// Fuzz target: `code`; the third byte selects the language.
pub fn fuzz_code(bytes: &[u8]) {
    fuzz(bytes, &[3], &CODE_PATHS);
}

/// The first three bytes select size, unit and path; the rest is the file.
fn fuzz(bytes: &[u8], which: &[usize], paths: &[&str]) {
    let mut bytes = Reader(bytes);
    let (max, unit, path) = (usize::from(bytes.byte()), bytes.byte(), usize::from(bytes.byte()));
    let tokens = unit % 2 == 1;
    // One character needs a token for the word and two marks.
    let max = max.max(if tokens { 4 } else { 1 });
    let counter = counter();
    let fits = |body: &str| if tokens { counter(body) <= max } else { body.chars().count() <= max };
    let chunkers = chunkers(max, tokens);
    for &number in which {
        check(&*chunkers[number], paths[path % paths.len()], bytes.0, &fits);
    }
}

/// Fuzz target: `pattern`; the third byte selects the settings.
pub fn fuzz_pattern(bytes: &[u8]) {
    let mut bytes = Reader(bytes);
    let (max, unit, which) = (usize::from(bytes.byte()), bytes.byte(), usize::from(bytes.byte()));
    let tokens = unit % 2 == 1;
    let max = max.max(if tokens { 4 } else { 1 });
    let counter = counter();
    let fits = |body: &str| if tokens { counter(body) <= max } else { body.chars().count() <= max };
    let chunkers = patterns(max, tokens);
    check(&*chunkers[which % chunkers.len()], "a.log", bytes.0, &fits);
}

/// Fuzz target: cleaning, and the language by name.
pub fn fuzz_clean(bytes: &[u8]) {
    let Ok(cleaned) = clean(bytes) else { return };
    let text = cleaned.text.as_str();
    assert!(!text.trim_start().is_empty(), "there is something to index");
    assert!(!text.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "{text:?}");
    language_of(text.lines().next().unwrap_or_default());
}
