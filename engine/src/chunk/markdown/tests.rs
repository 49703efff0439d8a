//! One small, realistic document per rule; the snapshot shows all chunks.

use std::fmt::Write as _;

use super::*;
use crate::model::Body;

/// Renders each chunk with its metadata.
fn show(text: &str, max: usize) -> String {
    let settings = MarkdownSettings { max_chunk_size: max, ..MarkdownSettings::default() };
    let chunker = MarkdownChunker::new("markdown", &settings, None).expect("valid settings");
    let document = Document { path: "a.md", text, language: Some("markdown"), ..Document::default() };
    let mut shown = String::new();
    for chunk in chunker.chunk(&document).expect("built-in chunkers accept any text") {
        let Body::Slice(range) = chunk.body else { panic!("expected a slice") };
        let label = [chunk.kind, chunk.name, chunk.context].map(|part| part.unwrap_or_else(|| "-".into()));
        writeln!(shown, "== {}", label.join(" | ")).expect("writing to a String cannot fail");
        writeln!(shown, "{}", &text[range]).expect("writing to a String cannot fail");
    }
    shown
}

#[test]
fn a_section_is_a_chunk_under_its_headings() {
    let text = "---\ntitle: Handbook\n---\n\n# Guide\n\n## Install\n\nFirst this.\n\n### Linux\n\n```sh\n# not a heading\napt install it\n```\n\nUsage\n-----\n\nRun it.\n\n<!--\n# neither\n-->\n";
    insta::assert_snapshot!(show(text, 200), @r#"
    == front-matter | - | Handbook
    ---
    title: Handbook
    ---
    == section | Install | Handbook > Guide > Install
    # Guide

    ## Install

    First this.
    == section | Linux | Handbook > Guide > Install > Linux
    ### Linux

    ```sh
    # not a heading
    apt install it
    ```
    == section | Usage | Handbook > Guide > Usage
    Usage
    -----

    Run it.

    <!--
    # neither
    -->
    "#);
}

#[test]
fn oversized_sections_are_cut_between_blocks_items_and_rows() {
    let text = "# Options\n\nSome words about options, of which there are many.\n\nFor example:\n\n- one thing\n  that goes on\n- another thing\n- a third thing\n\n| Name | Meaning |\n|---|---|\n| a | the first letter |\n| b | the second letter |\n| c | the third letter |\n";
    insta::assert_snapshot!(show(text, 90), @r#"
    == section | Options | Options
    # Options

    Some words about options, of which there are many.
    == section | Options | Options
    For example:

    - one thing
      that goes on
    - another thing
    - a third thing
    == table | Options | Options
    | Name | Meaning |
    |---|---|
    | a | the first letter |
    | b | the second letter |
    == table | Options | Options
    | Name | Meaning |
    | c | the third letter |
    "#);
}

/// The kinds and first lines of all blocks.
fn outline(text: &str) -> Vec<(Kind, usize)> {
    let size = Size::chars(1000);
    let ruler = size.ruler(text);
    let blocks = Outline::of(&Lines::new(&ruler)).blocks;
    blocks.into_iter().map(|block| (block.kind, block.lines.start)).collect()
}

#[test]
fn blocks_match_commonmark() {
    use Kind::{Code, FrontMatter, Heading, Html, List, Paragraph, Quote, Rule, Table};
    for (text, expected) in [
        ("# a\n#b\n####### c\n", &[(Heading(1), 0), (Paragraph, 1)][..]),
        ("a\nb\n===\nc\n---\n", &[(Heading(1), 0), (Heading(2), 3)]),
        ("a\n\n---\nb", &[(Paragraph, 0), (Rule, 2), (Paragraph, 3)]),
        ("```\n# a\n~~~\n```\n# b", &[(Code, 0), (Heading(1), 4)]),
        ("````\n```\n# a\n````\n# b", &[(Code, 0), (Heading(1), 4)]),
        ("```\n# a", &[(Code, 0)]),
        ("    # a\n\n    b\nc", &[(Code, 0), (Paragraph, 3)]),
        ("a\n    # b", &[(Paragraph, 0)]),
        ("- a\n\n  # b\n- c\nlazy\n\nd", &[(List, 0), (Paragraph, 6)]),
        ("- a\n# b", &[(List, 0), (Heading(1), 1)]),
        ("1. a\n   ```\n   # b\n   ```\n2. c", &[(List, 0)]),
        ("a\n2. b\n1. c", &[(Paragraph, 0), (List, 2)]),
        ("> # a\nlazy\n\nb", &[(Quote, 0), (Paragraph, 3)]),
        ("a | b\n--|--\nc | d\n\ne", &[(Table, 0), (Paragraph, 4)]),
        ("intro\n| a |\n|---|\n| b |", &[(Paragraph, 0), (Table, 1)]),
        ("<!--\n# a\n-->\n# b", &[(Html, 0), (Heading(1), 3)]),
        ("<div>\n# a\n\n# b", &[(Html, 0), (Heading(1), 3)]),
        ("<PRE>\n\n# a\n</pre>\nb", &[(Html, 0), (Paragraph, 4)]),
        ("<b>a</b> text\n# b", &[(Paragraph, 0), (Heading(1), 1)]),
        ("---\na: b\n---\n# c", &[(FrontMatter, 0), (Heading(1), 3)]),
        ("---\n\na\n\n---", &[(Rule, 0), (Paragraph, 2), (Rule, 4)]),
        ("+++\na = 1\n+++\nb", &[(FrontMatter, 0), (Paragraph, 3)]),
        ("* * *\n- - a", &[(Rule, 0), (List, 1)]),
        ("\n\na", &[(Rule, 0), (Paragraph, 2)]),
    ] {
        assert_eq!(outline(text), expected, "{text:?}");
    }
}

/// A heading at the top level of a document.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    level: u8,
    /// Byte offset of its start.
    start: usize,
    text: String,
}

/// The headings that pulldown-cmark finds in the whole document.
fn reference(text: &str) -> Vec<Found> {
    use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
    let options = Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES;
    let (mut depth, mut images, mut open) = (0, 0, false);
    let mut found: Vec<Found> = Vec::new();
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        match &event {
            Event::Start(Tag::Heading { level, .. }) if depth == 0 => {
                found.push(Found { level: *level as u8, start: range.start, text: String::new() });
                open = true;
            }
            Event::End(TagEnd::Heading(_)) => open = false,
            Event::Start(Tag::Image { .. }) => images += 1,
            Event::End(TagEnd::Image) => images -= 1,
            _ => {}
        }
        match event {
            Event::Start(_) => depth += 1,
            Event::End(_) => depth -= 1,
            Event::Text(part) | Event::Code(part) if open && images == 0 => {
                found.last_mut().expect("a heading is open").text.push_str(&part);
            }
            Event::SoftBreak | Event::HardBreak if open => {
                found.last_mut().expect("a heading is open").text.push(' ');
            }
            _ => {}
        }
    }
    for heading in &mut found {
        heading.text = heading.text.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    found
}

/// The headings that the chunker finds.
fn ours(text: &str) -> Vec<Found> {
    let size = Size::chars(1000);
    let ruler = size.ruler(text);
    let lines = Lines::new(&ruler);
    let headings = Headings::new(text);
    let blocks = Outline::of(&lines).blocks.into_iter();
    blocks
        .filter_map(|block| match block.kind {
            Kind::Heading(level) => {
                let bytes = lines.bytes(block.lines);
                Some(Found { level, start: bytes.start, text: headings.text(&text[bytes]) })
            }
            _ => None,
        })
        .collect()
}

/// Markdown files below a folder, except build output.
fn markdown_files(folder: &std::path::Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a readable folder").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let hidden = name.to_string_lossy().starts_with('.') || name == "target" || name == "node_modules";
        if hidden {
            continue;
        }
        if path.is_dir() {
            markdown_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            files.push(path);
        }
    }
}

#[test]
fn headings_of_this_repository_match_a_full_parser() {
    let mut files = Vec::new();
    for folder in ["docs", "engine", "plugins", "plugin-sdk", "tests"] {
        markdown_files(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder), &mut files);
    }
    assert!(files.len() > 10, "{files:?}");
    for path in files {
        let text = std::fs::read_to_string(&path).expect("text");
        if front_matter_lines(&text) == 0 {
            assert_eq!(ours(&text), reference(&text), "{}", path.display());
        }
    }
}

/// Number of front matter lines, which are not CommonMark.
fn front_matter_lines(text: &str) -> usize {
    let size = Size::chars(1000);
    let ruler = size.ruler(text);
    front_matter::find(&Lines::new(&ruler)).map_or(0, |found| found.end)
}

proptest::proptest! {
    #[test]
    fn heading_positions_match_a_full_parser(
        lines in proptest::collection::vec(proptest::sample::select(vec![
            "# a", "## b", "### c", "text", "more text", "", "", "", "- item", "  under it", "1. one", "> quote",
            "```", "~~~", "    indented", "| a | b |", "<div>", "</div>", "***", "    # no", "#no",
        ]), 0..25)
    ) {
        let text = lines.join("\n");
        proptest::prop_assert_eq!(ours(&text), reference(&text), "{:?}", text);
    }

    #[test]
    fn heading_texts_match_a_full_parser(
        pieces in proptest::collection::vec(proptest::sample::select(vec![
            "a", "b c", "1.", " ", " ", "`", "``", "*", "**", "_", "[", "]", "(", ")", "!", "<", ">", "\\", "&amp;", "&",
            "#", "~~", "[a]", "[A][]", "[b][a]", "[c](/d)", "![e][a]", "![f](g.png)", "[h]", "[^n]", "[^m]", "<br>",
            "</b>", "<http://x.y>", "<!-- c -->", "|", "\u{e9}", "\u{a0}", "-",
        ]), 0..14),
        setext in proptest::bool::ANY,
    ) {
        let line = pieces.concat();
        let heading = if setext { format!("x{line}\n===") } else { format!("## {line}") };
        let text = format!("{heading}\n\nText with a note[^n].\n\n[a]: /url 'title'\n\n[^n]: The note.\n");
        proptest::prop_assert_eq!(ours(&text), reference(&text), "{:?}", text);
    }
}
