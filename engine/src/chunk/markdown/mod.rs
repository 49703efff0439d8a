//! `kind = "markdown"`: one chunk per section if it fits. Blocks are kept whole if they fit, and
//! the path of headings becomes the context.

mod blocks;
mod config;
mod front_matter;
mod heading;
mod settings;

#[cfg(test)]
mod tests;

pub use settings::MarkdownSettings;

use std::ops::Range;

use super::lines::Lines;
use super::size::Size;
use super::{ChunkError, Chunker, Named, TokenCounter, language_of};
use crate::model::{Chunk, Document, StageResult};
use blocks::{Block, Kind, Outline};
use heading::Headings;

/// Bump when the same document and settings would give different chunks.
const VERSION: u32 = 2;

/// Maximum number of characters of a table header that are repeated in the context of later rows.
const TABLE_HEAD_CHARS: usize = 200;

/// Cuts Markdown along its headings and blocks.
pub struct MarkdownChunker {
    named: Named,
    size: Size,
}

impl MarkdownChunker {
    /// `counter` counts tokens as the embedder does; required if the settings set `max_tokens`.
    pub fn new(stage: &str, settings: &MarkdownSettings, counter: Option<TokenCounter>) -> StageResult<Self> {
        let size = super::size_of(stage, settings.max_chunk_size, settings.max_tokens, counter)?;
        let identity = format!("markdown/{VERSION} {}", size.describe());
        let named = Named::new(stage, identity, format!("markdown {VERSION}"), settings.patterns.as_deref())?;
        Ok(Self { named, size })
    }
}

impl Chunker for MarkdownChunker {
    fn named(&self) -> &Named {
        &self.named
    }

    fn matches(&self, path: &str) -> bool {
        self.named.takes(path, || language_of(path) == Some("markdown"))
    }

    fn chunk(&self, document: &Document<'_>) -> Result<Vec<Chunk>, ChunkError> {
        let ruler = self.size.ruler(document.text);
        let lines = Lines::new(&ruler);
        let Outline { title, blocks } = Outline::of(&lines);
        let headings = Headings::new(document.text);
        let mut cutter = Cutter { lines: &lines, headings, title, path: Vec::new(), chunks: Vec::new() };
        cutter.sections(&blocks);
        Ok(cutter.chunks)
    }
}

struct Cutter<'a> {
    lines: &'a Lines<'a>,
    headings: Headings<'a>,
    /// The title from the front matter.
    title: Option<String>,
    /// The headings above the current section and its own, with their levels.
    path: Vec<(u8, String)>,
    chunks: Vec<Chunk>,
}

/// Lines that are kept together if they fit.
#[derive(Debug, Clone)]
struct Part {
    kind: Kind,
    lines: Range<usize>,
    /// The header of the table to which these rows belong.
    head: Option<String>,
}

impl Cutter<'_> {
    fn sections(&mut self, blocks: &[Block]) {
        let mut first = 0;
        while first < blocks.len() {
            // A heading without content goes with what follows, and the path contains them all.
            let mut end = first;
            while let Some(Block { kind: Kind::Heading(level), lines }) = blocks.get(end)
                && self.lines.fit(blocks[first].lines.start..lines.end)
            {
                self.enter(*level, lines.clone());
                end += 1;
            }
            if end == first && matches!(blocks[first].kind, Kind::Heading(_)) {
                end += 1; // the heading alone exceeds a chunk
            }
            while blocks.get(end).is_some_and(|block| !matches!(block.kind, Kind::Heading(_))) {
                end += 1;
            }
            self.section(&blocks[first..end]);
            first = end;
        }
    }

    /// Enters a section: headings of the same or a deeper level leave the path.
    fn enter(&mut self, level: u8, lines: Range<usize>) {
        self.path.retain(|(above, _)| *above < level);
        let source = &self.lines.ruler.text[self.lines.bytes(lines)];
        self.path.push((level, self.headings.text(source)));
    }

    /// The context of the current section: `Guide > Install > Linux`.
    fn context(&self) -> Option<String> {
        let headings = self.path.iter().map(|(_, text)| text.as_str());
        let title =
            self.title.as_deref().filter(|title| self.path.first().is_none_or(|(_, top)| top != title));
        let path: Vec<&str> = title.into_iter().chain(headings).filter(|text| !text.is_empty()).collect();
        (!path.is_empty()).then(|| path.join(" > "))
    }

    /// Cuts one section: whole if it fits, else into parts of about equal size.
    fn section(&mut self, blocks: &[Block]) {
        let parts = self.parts(blocks);
        let Some(last) = parts.last() else { return };
        let all = parts[0].lines.start..last.lines.end;
        let max = self.lines.ruler.max;
        let total = self.lines.size(all);
        let target = if total <= max { max } else { total.div_ceil(total.div_ceil(max)) };
        let mut first = 0;
        while first < parts.len() {
            let from = parts[first].lines.start;
            let mut end = first + 1;
            while end < parts.len()
                && self.lines.fit(from..parts[end].lines.end)
                && (self.lines.size(from..parts[end - 1].lines.end) < target
                    // Do not leave the last part alone in a chunk.
                    || end + 1 == parts.len())
            {
                end += 1;
            }
            // Keep a lead-in ("For example:") with the part it introduces.
            if end < parts.len() && end - first > 1 && self.introduces(&parts[end - 1]) {
                end -= 1;
            }
            self.finish(&parts[first..end]);
            first = end;
        }
    }

    /// True for headings, and for paragraphs that end in a colon.
    fn introduces(&self, part: &Part) -> bool {
        match part.kind {
            Kind::Heading(_) => true,
            Kind::Paragraph => {
                self.lines.ruler.text[self.lines.bytes(part.lines.clone())].trim_end().ends_with(':')
            }
            _ => false,
        }
    }

    /// Blocks that fit, and the rows, items or lines of blocks that do not.
    fn parts(&self, blocks: &[Block]) -> Vec<Part> {
        let mut parts = Vec::with_capacity(blocks.len());
        for block in blocks {
            let lines = block.lines.clone();
            if self.lines.fit(lines.clone()) {
                parts.push(Part { kind: block.kind, lines, head: None });
                continue;
            }
            match block.kind {
                Kind::Table => {
                    let head: String =
                        self.lines.text(lines.start).trim().chars().take(TABLE_HEAD_CHARS).collect();
                    // Keep the header with the first row.
                    let rows = (lines.start + 2).min(lines.end)..lines.end;
                    parts.push(Part {
                        kind: Kind::Table,
                        lines: lines.start..(rows.start + 1).min(rows.end).max(rows.start),
                        head: None,
                    });
                    parts.extend(rows.skip(1).map(|row| Part {
                        kind: Kind::Table,
                        lines: row..row + 1,
                        head: Some(head.clone()),
                    }));
                }
                Kind::List => {
                    let starts = blocks::items(self.lines, &lines);
                    let ends = starts.iter().copied().skip(1).chain([lines.end]);
                    parts.extend(starts.iter().zip(ends).map(|(&start, end)| Part {
                        kind: Kind::List,
                        lines: start..end,
                        head: None,
                    }));
                }
                kind => parts.push(Part { kind, lines, head: None }),
            }
        }
        parts
    }

    fn finish(&mut self, parts: &[Part]) {
        let lines = parts[0].lines.start..parts[parts.len() - 1].lines.end;
        let kind = match parts {
            all if all.iter().all(|part| part.kind == Kind::Table) => "table",
            all if all.iter().all(|part| part.kind == Kind::Code) => "code",
            all if all.iter().all(|part| part.kind == Kind::FrontMatter) => "front-matter",
            _ => "section",
        };
        let mut context = self.context();
        if let Some(head) = &parts[0].head {
            context = Some(context.map_or_else(|| head.clone(), |path| format!("{path}\n{head}")));
        }
        let name = self.path.last().map(|(_, text)| text.clone()).filter(|text| !text.is_empty());
        let mut ranges = Vec::new();
        if self.lines.fit(lines.clone()) {
            self.lines.finish(lines, &mut ranges);
        } else {
            ranges = self.lines.split(lines);
        }
        self.chunks.extend(ranges.into_iter().map(|range| Chunk {
            context: context.clone(),
            kind: Some(kind.to_owned()),
            name: name.clone(),
            ..Chunk::slice(range)
        }));
    }
}
