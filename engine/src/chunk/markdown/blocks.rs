//! Parses Markdown's block structure line by line: where headings, fences, tables and lists begin
//! and end.
//!
//! Implements CommonMark with tables, as far as it decides where a document may be cut. Ignores
//! inline markup and blocks nested in lists and quotes: a full event parser would take several
//! times as long as all other processing of a document.

use std::ops::Range;

use super::super::lines::Lines;
use super::front_matter;

/// A block of whole lines, including the blank lines after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) kind: Kind,
    pub(super) lines: Range<usize>,
}

/// The kind of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A heading of level 1 to 6; text lines above a setext underline are part of it.
    Heading(u8),
    /// Fenced or indented code.
    Code,
    Table,
    List,
    Quote,
    Html,
    /// See [`front_matter`].
    FrontMatter,
    Paragraph,
    /// A thematic break, or blank lines at the start.
    Rule,
}

/// The block structure of a document.
pub(super) struct Outline {
    /// The title from the front matter.
    pub(super) title: Option<String>,
    /// All blocks, in order and without gaps.
    pub(super) blocks: Vec<Block>,
}

impl Outline {
    pub(super) fn of(lines: &Lines<'_>) -> Self {
        let mut scanner = Scanner { lines, count: lines.count(), blocks: Vec::new() };
        let title = scanner.scan();
        Self { title, blocks: scanner.blocks }
    }
}

struct Scanner<'a> {
    lines: &'a Lines<'a>,
    count: usize,
    blocks: Vec<Block>,
}

/// A line, classified by how it starts.
#[derive(Debug, Clone, Copy)]
struct Line<'a> {
    /// Columns of white space before `rest`; a tab advances to the next multiple of four.
    indent: usize,
    /// The line without leading and trailing white space.
    rest: &'a str,
}

impl<'a> Line<'a> {
    fn of(text: &'a str) -> Self {
        let mut indent = 0;
        let mut from = 0;
        for byte in text.bytes() {
            match byte {
                b' ' => indent += 1,
                b'\t' => indent += 4 - indent % 4,
                _ => break,
            }
            from += 1;
        }
        Self { indent, rest: text[from..].trim_end() }
    }

    fn blank(self) -> bool {
        self.rest.is_empty()
    }

    fn first(self) -> u8 {
        self.rest.as_bytes().first().copied().unwrap_or(b'\n')
    }

    /// Level of an ATX heading.
    fn heading(self) -> Option<u8> {
        let hashes = self.rest.bytes().take_while(|&byte| byte == b'#').count();
        let after = self.rest.as_bytes().get(hashes);
        (self.indent < 4 && (1..=6).contains(&hashes) && matches!(after, None | Some(b' ' | b'\t')))
            .then(|| u8::try_from(hashes).unwrap_or(6))
    }

    /// Character and length of a fence that may open on this line.
    fn fence(self) -> Option<(u8, usize)> {
        let mark = self.first();
        if self.indent >= 4 || !matches!(mark, b'`' | b'~') {
            return None;
        }
        let length = self.rest.bytes().take_while(|&byte| byte == mark).count();
        let info = &self.rest[length..];
        (length >= 3 && !(mark == b'`' && info.contains('`'))).then_some((mark, length))
    }

    fn closes(self, (mark, length): (u8, usize)) -> bool {
        self.indent < 4 && self.rest.len() >= length && self.rest.bytes().all(|byte| byte == mark)
    }

    /// Level of a setext underline.
    fn underline(self) -> Option<u8> {
        let all = |mark: u8| !self.blank() && self.rest.bytes().all(|byte| byte == mark);
        match self.first() {
            b'=' if self.indent < 4 && all(b'=') => Some(1),
            b'-' if self.indent < 4 && all(b'-') => Some(2),
            _ => None,
        }
    }

    fn rule(self) -> bool {
        let mark = self.first();
        self.indent < 4
            && matches!(mark, b'*' | b'-' | b'_')
            && self.rest.bytes().all(|byte| byte == mark || byte == b' ' || byte == b'\t')
            && self.rest.bytes().filter(|&byte| byte == mark).count() >= 3
    }

    /// The column at which a list item's content starts; `None` if no item starts on this line.
    fn item(self) -> Option<usize> {
        let bytes = self.rest.as_bytes();
        let marker = match self.first() {
            b'-' | b'*' | b'+' => 1,
            b'0'..=b'9' => {
                let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
                if digits > 9 || !matches!(bytes.get(digits), Some(b'.' | b')')) {
                    return None;
                }
                digits + 1
            }
            _ => return None,
        };
        match bytes.get(marker) {
            None => Some(self.indent + marker + 1),
            Some(b' ' | b'\t') => {
                let blanks = bytes[marker..].iter().take_while(|&&byte| byte == b' ').count().max(1);
                // Five or more spaces start indented code inside the item.
                Some(self.indent + marker + if blanks > 4 { 1 } else { blanks })
            }
            Some(_) => None,
        }
    }

    /// True for the delimiter row under a table's header.
    fn delimiter(self) -> bool {
        self.rest.contains('|')
            && self.rest.contains('-')
            && self.rest.bytes().all(|byte| matches!(byte, b'|' | b'-' | b':' | b' ' | b'\t'))
    }

    /// How the HTML block that starts on this line ends; `None` if none starts.
    fn html(self, after_paragraph: bool) -> Option<HtmlEnd> {
        if self.indent >= 4 || self.first() != b'<' {
            return None;
        }
        let rest = &self.rest[1..];
        if rest.starts_with("!--") {
            return Some(HtmlEnd::With("-->"));
        }
        if rest.starts_with('?') {
            return Some(HtmlEnd::With("?>"));
        }
        if rest.starts_with("![CDATA[") {
            return Some(HtmlEnd::With("]]>"));
        }
        if rest.starts_with('!') {
            return Some(HtmlEnd::With(">"));
        }
        let closing = rest.starts_with('/');
        let name = rest.trim_start_matches('/');
        let length = name.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'-').count();
        let (name, after) = name.split_at(length);
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return None;
        }
        if !after.is_empty() && !after.starts_with([' ', '\t', '>', '/']) {
            return None;
        }
        let lower = name.to_ascii_lowercase();
        if !closing {
            for (tag, end) in [
                ("script", "</script>"),
                ("pre", "</pre>"),
                ("style", "</style>"),
                ("textarea", "</textarea>"),
            ] {
                if lower == tag {
                    return Some(HtmlEnd::With(end));
                }
            }
        }
        let alone = self.rest.ends_with('>') && self.rest.bytes().filter(|&byte| byte == b'>').count() == 1;
        (BLOCK_TAGS.contains(&lower.as_str()) || alone && !after_paragraph).then_some(HtmlEnd::Blank)
    }
}

#[derive(Debug, Clone, Copy)]
enum HtmlEnd {
    /// On the line that contains this text.
    With(&'static str),
    /// Before a blank line.
    Blank,
}

/// Elements whose opening or closing tag starts an HTML block (CommonMark 0.31, condition 6).
const BLOCK_TAGS: [&str; 62] = [
    "address",
    "article",
    "aside",
    "base",
    "basefont",
    "blockquote",
    "body",
    "caption",
    "center",
    "col",
    "colgroup",
    "dd",
    "details",
    "dialog",
    "dir",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "frame",
    "frameset",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "header",
    "hr",
    "html",
    "iframe",
    "legend",
    "li",
    "link",
    "main",
    "menu",
    "menuitem",
    "nav",
    "noframes",
    "ol",
    "optgroup",
    "option",
    "p",
    "param",
    "search",
    "section",
    "summary",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "title",
    "tr",
    "track",
    "ul",
];

impl<'a> Scanner<'a> {
    fn line(&self, at: usize) -> Line<'a> {
        Line::of(self.lines.text(at))
    }

    fn push(&mut self, kind: Kind, lines: Range<usize>) {
        self.blocks.push(Block { kind, lines });
    }

    /// Parses all blocks; returns the title from the front matter.
    fn scan(&mut self) -> Option<String> {
        let mut at = 0;
        let mut title = None;
        if let Some(front_matter) = front_matter::find(self.lines) {
            at = self.skip_blank(front_matter.end);
            self.push(Kind::FrontMatter, 0..at);
            title = front_matter.title;
        }
        while at < self.count {
            at = self.block(at);
        }
        title
    }

    /// The first line from `at` on that is not blank.
    fn skip_blank(&self, mut at: usize) -> usize {
        while at < self.count && self.lines.blank(at) {
            at += 1;
        }
        at
    }

    /// Parses the block that starts at a line; returns the line after the block and its blank
    /// lines.
    fn block(&mut self, at: usize) -> usize {
        let line = self.line(at);
        if line.blank() {
            let next = self.skip_blank(at);
            self.push(Kind::Rule, at..next);
            return next;
        }
        let (kind, end) = if line.indent >= 4 {
            (Kind::Code, self.indented_end(at))
        } else if let Some(level) = line.heading() {
            (Kind::Heading(level), at + 1)
        } else if let Some(fence) = line.fence() {
            (Kind::Code, self.fence_end(at, fence))
        } else if line.rule() {
            (Kind::Rule, at + 1)
        } else if line.item().is_some() {
            (Kind::List, self.list_end(at))
        } else if line.first() == b'>' {
            (Kind::Quote, self.lazy_end(at + 1, |line| line.first() == b'>'))
        } else if let Some(end) = line.html(false) {
            (Kind::Html, self.html_end(at, end))
        } else {
            return self.paragraph(at);
        };
        let next = self.skip_blank(end);
        self.push(kind, at..next);
        next
    }

    /// Parses a paragraph, unless an underline or a delimiter row makes it a heading or a table.
    fn paragraph(&mut self, start: usize) -> usize {
        let mut at = start + 1;
        while at < self.count {
            let line = self.line(at);
            if line.blank() {
                break;
            }
            if let Some(level) = line.underline() {
                let next = self.skip_blank(at + 1);
                self.push(Kind::Heading(level), start..next);
                return next;
            }
            if line.indent < 4 && line.delimiter() && self.lines.text(at - 1).contains('|') {
                if at - 1 > start {
                    self.push(Kind::Paragraph, start..at - 1);
                }
                let end = self.table_end(at + 1);
                let next = self.skip_blank(end);
                self.push(Kind::Table, at - 1..next);
                return next;
            }
            if Self::interrupts(line) {
                break;
            }
            at += 1;
        }
        let next = self.skip_blank(at);
        self.push(Kind::Paragraph, start..next);
        next
    }

    /// True for a line that ends a paragraph without a blank line in between.
    fn interrupts(line: Line<'_>) -> bool {
        if line.indent >= 4 {
            return false;
        }
        match line.first() {
            b'#' => line.heading().is_some(),
            b'`' | b'~' => line.fence().is_some(),
            b'>' => true,
            b'<' => line.html(true).is_some(),
            b'*' | b'-' | b'_' | b'+' => line.rule() || (line.rest.len() > 1 && line.item().is_some()),
            // A numbered list interrupts a paragraph only if it starts at 1.
            b'1' => line.rest.len() > 2 && matches!(&line.rest.as_bytes()[1..3], b". " | b") "),
            _ => false,
        }
    }

    fn indented_end(&self, at: usize) -> usize {
        let mut end = at + 1;
        let mut next = end;
        while next < self.count {
            let line = self.line(next);
            next += 1;
            if line.blank() {
                continue;
            }
            if line.indent < 4 {
                break;
            }
            end = next;
        }
        end
    }

    fn fence_end(&self, at: usize, fence: (u8, usize)) -> usize {
        (at + 1..self.count).find(|&next| self.line(next).closes(fence)).map_or(self.count, |end| end + 1)
    }

    fn html_end(&self, at: usize, end: HtmlEnd) -> usize {
        match end {
            HtmlEnd::Blank => (at..self.count).find(|&next| self.lines.blank(next)).unwrap_or(self.count),
            HtmlEnd::With(mark) => (at..self.count)
                .find(|&next| {
                    let line = self.lines.text(next);
                    // Only end tags contain letters, and element names are case-insensitive.
                    if mark.starts_with("</") {
                        line.to_ascii_lowercase().contains(mark)
                    } else {
                        line.contains(mark)
                    }
                })
                .map_or(self.count, |end| end + 1),
        }
    }

    fn table_end(&self, from: usize) -> usize {
        (from..self.count)
            .find(|&at| {
                let line = self.line(at);
                line.blank() || Self::interrupts(line)
            })
            .unwrap_or(self.count)
    }

    /// The end of a container such as a quote: lines with its marker, and lazy continuation lines of a
    /// paragraph without it.
    fn lazy_end(&self, from: usize, marked: impl Fn(Line<'_>) -> bool) -> usize {
        (from..self.count)
            .find(|&at| {
                let line = self.line(at);
                line.blank() || (!marked(line) && Self::interrupts(line))
            })
            .unwrap_or(self.count)
    }

    /// The end of a list: items, the lines indented under them, and lazy continuation lines.
    fn list_end(&self, start: usize) -> usize {
        let mut content = self.line(start).item().unwrap_or(2);
        let mut after_blank = false;
        let mut end = start + 1;
        for at in start + 1..self.count {
            let line = self.line(at);
            if line.blank() {
                after_blank = true;
                continue;
            }
            if line.indent < content {
                match line.item() {
                    Some(_) if line.rule() => return end,
                    Some(column) if line.indent < 4 => content = column,
                    _ if after_blank || Self::interrupts(line) => return end,
                    _ => {}
                }
            }
            after_blank = false;
            end = at + 1;
        }
        end
    }
}

/// The first line of each item of a list, without the items of nested lists.
pub(super) fn items(lines: &Lines<'_>, list: &Range<usize>) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut content = 0;
    for at in list.clone() {
        let line = Line::of(lines.text(at));
        if (line.indent < content || starts.is_empty())
            && let Some(column) = line.item()
        {
            starts.push(at);
            content = column;
        }
    }
    starts
}
