//! What every built-in chunker promises, checked over texts that nobody would write.

use std::sync::Arc;

use proptest::prelude::*;

use super::{
    Chunker, CodeChunker, CodeSettings, Limits, MarkdownChunker, MarkdownSettings, SentenceChunker,
    SentenceSettings, TokenCounter, clean, fit,
};
use crate::model::{Body, Cleaned, Document};

/// A tokenizer whose parts do not sum up: a token for each started run of three bytes of a word,
/// and two marks around every text.
pub(super) fn counter() -> TokenCounter {
    Arc::new(|text: &str| 2 + text.split_whitespace().map(|word| word.len().div_ceil(3)).sum::<usize>())
}

/// Words, syntax of several languages, odd characters and line ends, in any order.
pub(super) fn soup() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z]{1,12}",
        2 => prop::sample::select(vec![" ", "  ", "\t", "\n", "\n\n", "\n\n\n", "\r\n", "\r", "    "]).prop_map(str::to_owned),
        2 => prop::sample::select(vec![
            "# ", "## ", "\n### x\n", "```\n", "~~~", "- ", "1. ", "> ", "| a | b |\n", "|---|---|\n", "===\n", "---\n",
            "<div>\n", "<!--", "-->", "\n***\n", "[a](b)", ". ", "! ", "? ", "。",
        ]).prop_map(str::to_owned),
        2 => prop::sample::select(vec![
            "fn f() {", "}", "impl X {", "struct S;", "def f(x):\n", "class C:\n    ", "class C {", "(", ")", "[", "]",
            "{", "/* ", " */", "// ", "# ", "\"", "'", "\\", "func ", "if x {", "else", "=>", "#[a]", "@d\n", "/// x\n",
            "#ifdef A\n", "#endif\n", "template <class T> ", "export ", "const a = ", "import x;", "`", "${", "r#\"",
        ]).prop_map(str::to_owned),
        1 => prop::sample::select(vec!["é", "漢字", "😀", "👩‍👩‍👧", "\u{301}", "\u{2028}", "\u{A0}", "©", "\u{85}", "\u{FEFF}"])
            .prop_map(str::to_owned),
        1 => ".{0,10}",
        1 => "[a-z0-9]{60,90}",
    ];
    prop::collection::vec(piece, 0..120).prop_map(|pieces| pieces.concat())
}

const PATHS: [&str; 11] =
    ["a.rs", "a.py", "a.js", "a.ts", "a.tsx", "a.go", "a.java", "a.c", "a.cpp", "a.md", "a.txt"];

fn chunkers(max: usize, tokens: bool) -> Vec<Box<dyn Chunker>> {
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
    vec![
        Box::new(SentenceChunker::new("s", &sentence, Some(counter())).expect("valid settings")),
        Box::new(SentenceChunker::new("s", &plain, Some(counter())).expect("valid settings")),
        Box::new(MarkdownChunker::new("m", &markdown, Some(counter())).expect("valid settings")),
        Box::new(CodeChunker::new("c", &code, Some(counter())).expect("valid settings")),
    ]
}

/// Checks one document against every promise.
pub(super) fn check(chunker: &dyn Chunker, path: &str, file: &str, size: &dyn Fn(&str) -> bool) {
    let Ok(cleaned) = clean(file.as_bytes()) else { return };
    let original = cleaned.clone();
    let cleaned = chunker.prepare(cleaned);
    let text = cleaned.text.as_str();
    let document = Document { path, text, language: super::language_of(path) };
    let chunks = chunker.chunk(&document).expect("a built-in chunker takes every text");
    assert_eq!(chunks, chunker.chunk(&document).expect("a second time too"), "the same chunks again");

    let (mut covered, mut start) = (0, 0);
    for chunk in &chunks {
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
            size(body) || body.trim().chars().count() == 1,
            "{} is too large: {body:?}",
            chunker.identity()
        );
        assert_ne!(body.trim(), "", "{range:?} is blank");
    }
    assert_eq!(text[covered..].trim(), "", "a gap at the end");

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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn chunks_cover_in_order_and_fit(file in soup(), max in 1_usize..400, path in prop::sample::select(PATHS.as_slice())) {
        for chunker in chunkers(max, false) {
            check(&*chunker, path, &file, &|body| body.chars().count() <= max);
        }
    }

    #[test]
    fn chunks_fit_in_tokens(file in soup(), max in 4_usize..200, path in prop::sample::select(PATHS.as_slice())) {
        let counter = counter();
        for chunker in chunkers(max, true) {
            check(&*chunker, path, &file, &|body| counter(body) <= max);
        }
    }
}

#[test]
fn hostile_files_are_cut_in_bounded_time() {
    let long_line = "x".repeat(300_000);
    let nested = "(".repeat(200_000);
    let braces = "{".repeat(100_000) + &"}".repeat(100_000);
    let blanks = " \n".repeat(100_000) + "end";
    let quotes = "> ".repeat(100_000);
    let lists = "- ".repeat(100_000);
    let nested_code = (0..2000).map(|depth| " ".repeat(depth % 200) + "if x {\n").collect::<String>();
    let brackets = "a\"b'c{d(e[f/*g\n".repeat(2000);
    for file in [&brackets, &long_line, &nested, &braces, &blanks, &quotes, &lists, &nested_code] {
        for chunker in chunkers(1000, false) {
            for path in ["a.rs", "a.py", "a.c", "a.md"] {
                check(&*chunker, path, file, &|body| body.chars().count() <= 1000);
            }
        }
    }
}
