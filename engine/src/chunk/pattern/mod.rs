//! `kind = "pattern"`: chunks that begin where a line matches a regular expression, or a fixed
//! number of rows. Every line belongs to a chunk: what stands before the first start, and between an
//! end and the next start, is a chunk without a name.

mod config;
mod context;
mod expression;
mod settings;

#[cfg(test)]
mod tests;

pub use settings::{Lead, PatternSettings};

use std::ops::Range;

use regex::{CaptureLocations, Regex};

use self::context::{Context, fill};
use super::lines::Lines;
use super::size::Size;
use super::{ChunkError, Chunker, Named, TokenCounter};
use crate::model::{AttrValue, Attrs, Chunk, Document, StageError, StageResult};

/// Bump when the same document and settings would give different chunks. A new version of the `regex`
/// crate may bring newer Unicode tables; bump it then, too.
const VERSION: u32 = 1;

/// Maximum length of a context in bytes, because every chunk has its own copy.
const MAX_CONTEXT: usize = 1000;

/// Maximum length in bytes of a kind and of an attribute's value, which are labels, not text.
const MAX_VALUE: usize = 256;

/// Cuts lines by regular expressions or by number.
pub struct PatternChunker {
    named: Named,
    size: Size,
    cut: Cut,
}

/// Where chunks begin and end.
enum Cut {
    AtStarts(Starts),
    Rows { group: usize, header: usize },
}

struct Starts {
    start: Regex,
    /// The named groups of `start`, with their numbers.
    groups: Vec<(usize, String)>,
    end: Option<Regex>,
    comment: Option<Regex>,
    context: Context,
}

/// What is known of a chunk from its first line.
#[derive(Clone, Default)]
struct Head<'a> {
    context: HeadContext<'a>,
    kind: Option<String>,
    name: Option<String>,
    attrs: Attrs,
}

#[derive(Clone, Default)]
enum HeadContext<'a> {
    #[default]
    None,
    /// The first line. It becomes no context of a chunk that is nothing else.
    Line(&'a str),
    Text(String),
}

impl PatternChunker {
    /// `counter` counts tokens as the embedder does; required if the settings set `max_tokens`.
    pub fn new(stage: &str, settings: &PatternSettings, counter: Option<TokenCounter>) -> StageResult<Self> {
        let size = super::size_of(stage, settings.max_chunk_size, settings.max_tokens, counter)?;
        let cut = Cut::new(stage, settings)?;
        let identity = format!("pattern/{VERSION} {} {}", size.describe(), described(settings));
        let named = Named::new(stage, identity, format!("pattern {VERSION}"), Some(&settings.patterns))?;
        Ok(Self { named, size, cut })
    }
}

/// The settings that decide where chunks begin and what is known of them, as JSON.
fn described(settings: &PatternSettings) -> serde_json::Value {
    match settings.group {
        Some(group) => serde_json::json!({ "group": group, "header": settings.header }),
        None => serde_json::json!({
            "start": settings.start,
            "end": settings.end,
            "context": settings.context.as_deref().unwrap_or("first-line"),
            "comment": settings.attached(),
        }),
    }
}

impl Cut {
    /// Compiles the expressions, which [`PatternSettings`] has checked where they come from a file.
    fn new(stage: &str, settings: &PatternSettings) -> StageResult<Self> {
        if let Some(group) = settings.group {
            return Ok(Self::Rows { group: group.max(1), header: settings.header });
        }
        let compile = |key: &str, text: Option<&str>| {
            let compiled = text.map(expression::compile).transpose();
            compiled.map_err(|objection| {
                StageError::misconfigured(stage, format!("`{key}` {}", objection.message))
                    .hint(objection.hint)
            })
        };
        let start = compile("start", settings.start.as_deref())?
            .ok_or_else(|| StageError::misconfigured(stage, "`start` or `group` is needed"))?;
        let names: Vec<&str> = expression::names_of(&start).collect();
        let context = Context::parse(settings.context.as_deref().unwrap_or("first-line"), &names);
        let context = context.map_err(|objection| {
            StageError::misconfigured(stage, format!("`context` {}", objection.message)).hint(objection.hint)
        })?;
        let groups = start.capture_names().enumerate();
        let groups = groups.filter_map(|(number, name)| Some((number, name?.to_owned()))).collect();
        Ok(Self::AtStarts(Starts {
            groups,
            end: compile("end", settings.end.as_deref())?,
            comment: compile("comment", settings.attached())?,
            context,
            start,
        }))
    }
}

impl Chunker for PatternChunker {
    fn named(&self) -> &Named {
        &self.named
    }

    fn matches(&self, path: &str) -> bool {
        self.named.takes(path, || false)
    }

    fn chunk(&self, document: &Document<'_>) -> Result<Vec<Chunk>, ChunkError> {
        let ruler = self.size.ruler(document.text);
        let lines = Lines::new(&ruler);
        let mut cutter = Cutter { lines: &lines, ranges: Vec::new(), chunks: Vec::new() };
        match &self.cut {
            Cut::AtStarts(starts) => cutter.at_starts(starts),
            Cut::Rows { group, header } => cutter.rows(*group, *header),
        }
        Ok(cutter.chunks)
    }
}

struct Cutter<'a> {
    lines: &'a Lines<'a>,
    /// The parts of the chunk at hand.
    ranges: Vec<Range<usize>>,
    chunks: Vec<Chunk>,
}

impl Cutter<'_> {
    fn at_starts(&mut self, starts: &Starts) {
        // The chunk at hand begins at `from`. Comments are taken from lines that are not before
        // `floor`: those above belong to the previous start, or to the line that ended its chunk.
        let (mut from, mut floor) = (0, 0);
        let mut head: Option<Head<'_>> = None;
        let mut open = false;
        let mut locations = starts.start.capture_locations();
        for line in 0..self.lines.count() {
            let text = self.lines.text(line);
            if open && starts.end.as_ref().is_some_and(|end| end.is_match(text)) {
                self.finish(from..line + 1, head.take());
                (from, floor, open) = (line + 1, line + 1, false);
            } else if let Some(matched) = starts.find(&mut locations, text) {
                let lead = starts.lead(self.lines, line, floor);
                self.finish(from..lead, head.take());
                let (found, ended) = starts.read(text, matched, &locations);
                (from, floor, open) = (lead, line + 1, !ended);
                if ended {
                    self.finish(from..line + 1, Some(found));
                    from = line + 1;
                } else {
                    head = Some(found);
                }
            }
        }
        self.finish(from..self.lines.count(), head);
    }

    /// Adds a chunk, in parts if it is too large. `head` is what its start says about it.
    fn finish(&mut self, lines: Range<usize>, head: Option<Head<'_>>) {
        self.cut(lines);
        let Some(mut head) = head else {
            self.chunks.extend(self.ranges.drain(..).map(Chunk::slice));
            return;
        };
        let Some(last) = self.ranges.pop() else { return };
        let text = self.lines.ruler.text[last.clone()].trim();
        if self.ranges.is_empty() && head.context.text() == Some(text) {
            head.context = HeadContext::None; // a single line would stand in the input twice
        }
        for range in self.ranges.drain(..) {
            self.chunks.push(head.clone().of(range));
        }
        self.chunks.push(head.of(last));
    }

    fn rows(&mut self, group: usize, header: usize) {
        let count = self.lines.count();
        let header = header.min(count);
        let body = self.lines.bytes(0..header).end;
        let text = self.lines.ruler.text[..body].trim_end();
        let context = &text[..text.floor_char_boundary(MAX_CONTEXT)];
        let mut from = 0;
        let mut end = header.saturating_add(group).min(count);
        while from < count {
            self.cut(from..end);
            for range in self.ranges.drain(..) {
                // The header itself needs no context.
                let context = (range.start >= body && !context.is_empty()).then(|| context.to_owned());
                self.chunks.push(Chunk { context, ..Chunk::slice(range) });
            }
            from = end;
            end = end.saturating_add(group).min(count);
        }
    }

    /// Cuts lines into ranges that fit.
    fn cut(&mut self, lines: Range<usize>) {
        if self.lines.fit(lines.clone()) {
            self.lines.finish(lines, &mut self.ranges);
        } else {
            self.ranges = self.lines.split(lines);
        }
    }
}

impl Head<'_> {
    fn of(self, range: Range<usize>) -> Chunk {
        let Self { context, kind, name, attrs } = self;
        let context = match context {
            HeadContext::None => None,
            HeadContext::Line(line) => Some(line.to_owned()),
            HeadContext::Text(text) => Some(text),
        };
        Chunk { context, kind, name, attrs, ..Chunk::slice(range) }
    }
}

impl HeadContext<'_> {
    fn text(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Line(line) => Some(line),
            Self::Text(text) => Some(text),
        }
    }
}

impl Starts {
    /// The first of the comment lines directly above a start.
    fn lead(&self, lines: &Lines<'_>, start: usize, floor: usize) -> usize {
        let Some(comment) = &self.comment else { return start };
        let mut lead = start;
        while lead > floor && comment.is_match(lines.text(lead - 1)) {
            lead -= 1;
        }
        lead
    }

    /// The end of the match if a chunk starts at this line, whose groups are then in `locations`. A search for groups
    /// takes no longer than one without, where the line does not match.
    fn find(&self, locations: &mut CaptureLocations, line: &str) -> Option<usize> {
        if !self.groups.is_empty() {
            self.start.captures_read(locations, line).map(|found| found.end())
        } else if self.end.is_some() {
            self.start.find(line).map(|found| found.end())
        } else {
            self.start.is_match(line).then_some(0)
        }
    }

    /// What the line of a start says about its chunk, and whether the chunk ends on the same line:
    /// after the part that matched.
    fn read<'l>(&self, line: &'l str, matched: usize, locations: &CaptureLocations) -> (Head<'l>, bool) {
        let mut head = Head::default();
        let group = |number: usize| locations.get(number).map(|(start, end)| &line[start..end]);
        for (number, name) in &self.groups {
            let value = group(*number).and_then(label);
            match name.as_str() {
                "kind" => head.kind = value,
                "name" => head.name = value,
                _ => head.attrs.extend(value.map(|value| (name.clone(), AttrValue::Text(value)))),
            }
        }
        head.context = match &self.context {
            Context::None => HeadContext::None,
            Context::FirstLine => match first_line(line) {
                "" => HeadContext::None,
                line => HeadContext::Line(line),
            },
            Context::Template(parts) => {
                let named = |name: &str| group(self.groups.iter().find(|(_, known)| known == name)?.0);
                fill(parts, named, MAX_CONTEXT).map_or(HeadContext::None, HeadContext::Text)
            }
        };
        let ended = self.end.as_ref().is_some_and(|end| end.is_match_at(line, matched));
        (head, ended)
    }
}

/// A line as a context.
fn first_line(line: &str) -> &str {
    let line = line.trim();
    &line[..line.floor_char_boundary(MAX_CONTEXT)]
}

/// The value of a group; `None` if it is blank.
fn label(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text[..text.floor_char_boundary(MAX_VALUE)].to_owned())
}
