//! One small realistic document for each rule, shown whole.

use std::fmt::Write as _;

use super::*;
use crate::model::Body;

/// Every chunk with what is known of it.
fn show(text: &str, max: usize) -> String {
    let settings = MarkdownSettings { max_chunk_size: max, ..MarkdownSettings::default() };
    let chunker = MarkdownChunker::new("markdown", &settings, None).expect("valid settings");
    let document = Document { path: "a.md", text, language: Some("markdown") };
    let mut shown = String::new();
    for chunk in chunker.chunk(&document).expect("always") {
        let Body::Slice(range) = chunk.body else { panic!("generated text") };
        let label = [chunk.kind, chunk.name, chunk.context].map(|part| part.unwrap_or_else(|| "-".into()));
        writeln!(shown, "== {}", label.join(" | ")).expect("a String takes everything");
        writeln!(shown, "{}", &text[range]).expect("a String takes everything");
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
fn what_does_not_fit_is_cut_between_blocks_items_and_rows() {
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
    blocks::blocks(&Lines::new(&ruler)).into_iter().map(|block| (block.kind, block.lines.start)).collect()
}

#[test]
fn blocks_are_those_of_commonmark() {
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

/// Headings at the top level as pulldown-cmark finds them: (level, byte where it starts).
fn reference(text: &str) -> Vec<(u8, usize)> {
    use pulldown_cmark::{Event, Options, Parser, Tag};
    let mut depth = 0;
    let mut found = Vec::new();
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { level, .. }) if depth == 0 => {
                found.push((level as u8, range.start));
                depth += 1;
            }
            Event::Start(_) => depth += 1,
            Event::End(_) => depth -= 1,
            _ => {}
        }
    }
    found
}

proptest::proptest! {
    #[test]
    fn headings_are_where_a_full_parser_sees_them(
        lines in proptest::collection::vec(proptest::sample::select(vec![
            "# a", "## b", "### c", "text", "more text", "", "", "", "- item", "  under it", "1. one", "> quote",
            "```", "~~~", "    indented", "| a | b |", "<div>", "</div>", "***", "    # no", "#no",
        ]), 0..25)
    ) {
        let text = lines.join("\n");
        let size = Size::chars(1000);
        let ruler = size.ruler(&text);
        let lines = Lines::new(&ruler);
        let ours: Vec<(u8, usize)> = blocks::blocks(&lines)
            .into_iter()
            .filter_map(|block| match block.kind {
                Kind::Heading(level) => Some((level, lines.bytes(block.lines).start)),
                _ => None,
            })
            .collect();
        proptest::prop_assert_eq!(ours, reference(&text), "{:?}", text);
    }
}
