//! Extracts the text of a heading: the text content of its inline Markdown, as CommonMark defines
//! it.

use std::cell::OnceCell;

use pulldown_cmark::{BrokenLink, CowStr, Event, Options, Parser, Tag, TagEnd};

/// Characters that can start inline markup, an escape or an entity. A line without them is plain
/// text.
const MARKUP: [char; 7] = ['\\', '`', '*', '_', '[', '<', '&'];

/// Tables only decide where a link definition may occur; footnote references are not part of a
/// heading's text.
const OPTIONS: Options = Options::ENABLE_TABLES.union(Options::ENABLE_FOOTNOTES);

/// Extracts the headings of one document.
///
/// Each heading is parsed by itself. Whether `[name]` is a link or plain brackets depends on
/// definitions elsewhere in the document, so the document is parsed once as well, when a heading
/// needs it.
pub(super) struct Headings<'a> {
    text: &'a str,
    /// The parser of the whole document; its first pass collects the link definitions.
    document: OnceCell<Parser<'a>>,
    /// Footnote labels that the document defines, in lower case.
    footnotes: OnceCell<Vec<String>>,
}

impl<'a> Headings<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, document: OnceCell::new(), footnotes: OnceCell::new() }
    }

    /// The text of a heading's lines, without trailing attributes (`{#anchor .class}`). Runs of
    /// white space are collapsed into one space.
    pub(super) fn text(&self, source: &str) -> String {
        let Heading { content, underline } = heading(source);
        let content = strip_attributes(content);
        let text =
            if content.contains(MARKUP) { self.parsed(content, underline) } else { content.to_owned() };
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The text content of a heading with markup. Parses it as a heading: as a paragraph, `1.
    /// [a](b)` would become a list.
    fn parsed(&self, content: &str, underline: Option<char>) -> String {
        let mut source = match underline {
            Some(mark) => format!("{content}\n{mark}{mark}{mark}\n"),
            // With closing hashes, so that a trailing `#` of the content is not taken for them.
            None => format!("# {content} #\n"),
        };
        if content.contains("[^") {
            let lower = content.to_lowercase();
            for label in self.footnotes().iter().filter(|label| lower.contains(&format!("[^{label}]"))) {
                source.push_str("\n[^");
                source.push_str(label);
                source.push_str("]: note\n");
            }
        }
        let defined = |link: BrokenLink<'_>| {
            let found = self.document().reference_definitions().get(&link.reference).is_some();
            found.then_some((CowStr::Borrowed(""), CowStr::Borrowed("")))
        };
        text_content(Parser::new_with_broken_link_callback(&source, OPTIONS, Some(defined)))
    }

    fn document(&self) -> &Parser<'a> {
        self.document.get_or_init(|| Parser::new_ext(self.text, OPTIONS))
    }

    fn footnotes(&self) -> &[String] {
        self.footnotes.get_or_init(|| {
            let labels = Parser::new_ext(self.text, OPTIONS).filter_map(|event| match event {
                Event::Start(Tag::FootnoteDefinition(label)) => Some(label.to_lowercase()),
                _ => None,
            });
            labels.collect()
        })
    }
}

/// The text of the first block. An image contributes none, because its description is an attribute.
fn text_content<'a>(events: impl Iterator<Item = Event<'a>>) -> String {
    let mut text = String::new();
    let mut images = 0_usize;
    for event in events {
        match event {
            Event::Start(Tag::Image { .. }) => images += 1,
            Event::End(TagEnd::Image) => images -= 1,
            Event::Text(part) | Event::Code(part) if images == 0 => text.push_str(&part),
            Event::SoftBreak | Event::HardBreak if images == 0 => text.push(' '),
            Event::End(TagEnd::Heading(_) | TagEnd::Paragraph) => break,
            _ => {}
        }
    }
    text
}

/// A heading without its markers.
struct Heading<'a> {
    content: &'a str,
    /// The character of a setext underline; `None` for an ATX heading (`#`).
    underline: Option<char>,
}

fn heading(source: &str) -> Heading<'_> {
    // CommonMark's definition of white space; a no-break space is text.
    let source = source.trim_matches([' ', '\t', '\n']);
    let after_hashes = source.trim_start_matches('#');
    // A setext heading may also begin with a hash, like `#tag`.
    if after_hashes.len() < source.len() && (after_hashes.is_empty() || after_hashes.starts_with([' ', '\t']))
    {
        return Heading { content: atx_content(after_hashes), underline: None };
    }
    match source.rsplit_once('\n') {
        Some((content, line)) => {
            let mark = if line.trim_start().starts_with('=') { '=' } else { '-' };
            Heading { content: content.trim_end(), underline: Some(mark) }
        }
        None => Heading { content: source, underline: None },
    }
}

/// The content after the opening hashes, without closing ones.
fn atx_content(text: &str) -> &str {
    let text = text.trim_matches([' ', '\t']);
    let open = text.trim_end_matches('#');
    // Closing hashes must follow a space: `C#` keeps its hash.
    if open.is_empty() || open.ends_with([' ', '\t']) { open.trim_end() } else { text }
}

/// `Title {#anchor .class}` without the braces, which several site generators read as attributes.
fn strip_attributes(content: &str) -> &str {
    match content.rfind('{') {
        Some(open)
            if content.ends_with('}') && content[open + 1..].trim_start().starts_with(['#', '.', ':']) =>
        {
            content[..open].trim_end()
        }
        _ => content,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(document: &str) -> String {
        let source = document.split("\n\n").next().expect("the first block is the heading");
        Headings::new(document).text(source)
    }

    #[test]
    fn headings_become_their_visible_text() {
        for (document, shown) in [
            ("# Install", "Install"),
            ("### Install ###  ", "Install"),
            ("## C# and F#", "C# and F#"),
            ("#", ""),
            ("Install\nand run\n=======\n", "Install and run"),
            ("## The `--out` *flag*", "The --out flag"),
            ("## [Link](https://x.y) and ![badge](b.svg) more", "Link and more"),
            ("## Setup {#setup .wide}", "Setup"),
            ("## Setup { #setup }", "Setup"),
            ("## `{#setup}`", "{#setup}"),
            ("## Why {braces}", "Why {braces}"),
            ("# <img src=\"x\"> Name!", "Name!"),
            ("## a < b \\* c", "a < b * c"),
            ("## snake_case", "snake_case"),
            ("## 1. [First](a.md)", "1. First"),
            ("## a #  #", "a #"),
            ("## `a` #  #", "a #"),
            ("#tag\n====", "#tag"),
            ("# a\u{a0}#", "a #"), // closing hashes must follow a space or tab
            ("# #\u{a0}", "#"),
            ("# a\t#", "a"),
        ] {
            assert_eq!(text(document), shown, "{document:?}");
        }
    }

    #[test]
    fn code_is_text() {
        for (document, shown) in [
            ("## `Vec<T>` growth", "Vec<T> growth"),
            ("### `arr[i]` access", "arr[i] access"),
            ("### `*args` and `**kwargs`", "*args and **kwargs"),
            ("### `[profile.release]`", "[profile.release]"),
            ("### `vec![]` macro", "vec![] macro"),
            ("### The `<log-in>` element", "The <log-in> element"),
            ("### `a\\b` path", "a\\b path"),
            ("### `` a`b ``", "a`b"),
        ] {
            assert_eq!(text(document), shown, "{document:?}");
        }
    }

    #[test]
    fn links_are_those_that_the_document_defines() {
        for (document, shown) in [
            ("### [Foo][1]\n\n[1]: http://x.invalid", "Foo"),
            ("### [Foo][1]", "[Foo][1]"),
            ("## [1.0.0] - 2020\n\n> [1.0.0]: http://x.invalid", "1.0.0 - 2020"),
            ("## [Unreleased]", "[Unreleased]"),
            ("## [Two  Words][]\n\n[two words]: /x", "Two Words"),
            ("## [x]\n\n```\n[x]: /x\n```", "[x]"),
            ("### ![build][badge] Name\n\n[badge]: b.svg", "Name"),
            ("### <https://example.invalid>", "https://example.invalid"),
            ("### Q&amp;A &copy;", "Q&A \u{a9}"),
            ("## Note[^1] here\n\n[^1]: Two words.", "Note here"),
            ("## Note[^1] here", "Note[^1] here"),
            ("Set *one*\\\n`two`\n---", "Set one two"),
        ] {
            assert_eq!(text(document), shown, "{document:?}");
        }
    }
}
