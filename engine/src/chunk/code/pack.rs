//! Packs units into chunks: large definitions alone, small neighbours together.

use std::ops::Range;

use super::super::lines::Lines;
use super::walk::{Outline, Role, Symbol, Unit};
use crate::model::Chunk;

/// Maximum number of bytes for the list of names of a chunk with several definitions.
const NAMES_BYTES: usize = 120;

/// Packs all units of an outline; the chunks cover all lines.
pub(super) fn pack(outline: &Outline, lines: &Lines<'_>) -> Vec<Chunk> {
    if outline.units.is_empty() {
        return lines.split(0..lines.count()).into_iter().map(Chunk::slice).collect();
    }
    let packer = Packer { outline, lines, max: lines.ruler.max };
    let mut groups = packer.groups();
    packer.glue(&mut groups);
    let mut chunks = Vec::new();
    for group in groups {
        packer.cut(group, &mut chunks);
    }
    chunks
}

struct Packer<'a> {
    outline: &'a Outline,
    lines: &'a Lines<'a>,
    max: usize,
}

impl Packer<'_> {
    fn unit(&self, at: usize) -> &Unit {
        &self.outline.units[at]
    }

    /// The lines of these units. The first unit of the file includes the lines above it.
    fn lines_of(&self, units: Range<usize>) -> Range<usize> {
        let start = if units.start == 0 { 0 } else { self.unit(units.start).line };
        let end = self.outline.units.get(units.end).map_or(self.lines.count(), |unit| unit.line);
        start..end
    }

    fn size(&self, units: Range<usize>) -> usize {
        self.lines.size(self.lines_of(units))
    }

    /// True for a definition that is large enough to get its own chunk.
    fn is_large_item(&self, at: usize) -> bool {
        let least = if self.outline.data { self.max / 2 } else { self.max / 8 };
        matches!(self.unit(at).role, Role::Item(_)) && self.size(at..at + 1) >= least
    }

    /// The definition that a unit belongs to or is.
    fn subject(&self, at: usize) -> Option<usize> {
        match self.unit(at).role {
            Role::Head(symbol) => Some(symbol),
            Role::Item(_) | Role::Loose => self.unit(at).owner,
        }
    }

    /// Groups consecutive units with the same subject; large definitions stay alone.
    fn groups(&self) -> Vec<Range<usize>> {
        let mut groups: Vec<Range<usize>> = Vec::new();
        let mut open = false;
        for at in 0..self.outline.units.len() {
            let alone = self.is_large_item(at);
            match groups.last_mut() {
                Some(group) if open && !alone && self.joins(group, at) => group.end = at + 1,
                _ => groups.push(at..at + 1),
            }
            open = !alone;
        }
        groups
    }

    fn joins(&self, group: &Range<usize>, at: usize) -> bool {
        self.subject(group.start) == self.subject(at) && !matches!(self.unit(at).role, Role::Head(_))
    }

    /// Merges a group that is too small to be useful (`impl X {`, one import) with the next one.
    fn glue(&self, groups: &mut Vec<Range<usize>>) {
        let mut glued: Vec<Range<usize>> = Vec::with_capacity(groups.len());
        for group in groups.drain(..) {
            match glued.last_mut() {
                Some(last)
                    if self.size(last.clone()) <= self.max / 10
                        && self.size(last.start..group.end) <= self.max
                        && self.reaches(last, &group) =>
                {
                    last.end = group.end;
                }
                _ => glued.push(group),
            }
        }
        *groups = glued;
    }

    /// A head merges only with its own parts, loose lines only with a neighbour on their level.
    fn reaches(&self, small: &Range<usize>, next: &Range<usize>) -> bool {
        let about = self.subject(small.end - 1);
        about == self.unit(next.start).owner || about == self.subject(next.start)
    }

    /// Cuts a group into chunks that fit.
    fn cut(&self, group: Range<usize>, chunks: &mut Vec<Chunk>) {
        let limit = self.limit(&group);
        let total = self.size(group.clone());
        // Prefer parts of equal size over full ones plus a small rest.
        let target = if total <= limit { limit } else { total.div_ceil(total.div_ceil(limit)) };
        let mut first = group.start;
        while first < group.end {
            let mut end = first + 1;
            while end < group.end && self.size(first..end + 1) <= limit && self.size(first..end) < target {
                end += 1;
            }
            if end < group.end {
                end = self.best_cut(first, end);
            }
            self.finish(first..end, chunks);
            first = end;
        }
    }

    /// Statements of one function and data keys fill a whole chunk. Small definitions and imports
    /// fill half of one, so that the chunk keeps a recognizable subject.
    fn limit(&self, group: &Range<usize>) -> usize {
        let statements =
            self.subject(group.start).is_some_and(|symbol| !self.outline.symbols[symbol].container);
        if self.outline.data || statements || group.len() == 1 || self.is_large_item(group.end - 1) {
            self.max
        } else {
            (self.max / 2).max(1)
        }
    }

    /// The shallowest place to cut in the second half of the range.
    fn best_cut(&self, first: usize, end: usize) -> usize {
        let half = self.size(first..end) / 2;
        (first + 1..=end)
            .rev()
            .take_while(|&cut| self.size(first..cut) >= half)
            .min_by_key(|&cut| self.unit(cut).depth)
            .unwrap_or(end)
    }

    fn finish(&self, units: Range<usize>, chunks: &mut Vec<Chunk>) {
        let (kind, name, context) = self.describe(units.clone());
        let lines = self.lines_of(units);
        let mut ranges = Vec::new();
        if self.lines.fit(lines.clone()) {
            self.lines.finish(lines, &mut ranges);
        } else {
            ranges = self.lines.split(lines);
        }
        chunks.extend(ranges.into_iter().map(|range| Chunk {
            context: context.clone(),
            kind: kind.map(str::to_owned),
            name: name.clone(),
            ..Chunk::slice(range)
        }));
    }

    /// Kind, name and context of these units.
    fn describe(&self, units: Range<usize>) -> (Option<&'static str>, Option<String>, Option<String>) {
        let symbols = &self.outline.symbols;
        let mut defined: Vec<usize> = Vec::new();
        let mut head = None;
        for at in units.clone() {
            match self.unit(at).role {
                Role::Item(symbol) => defined.push(symbol),
                Role::Head(symbol) => head = Some(symbol),
                Role::Loose => {}
            }
        }
        let subject = match (defined.as_slice(), head) {
            // `impl X {` with its first method counts as the method.
            ([only], _) => Some(*only),
            ([], Some(head)) => Some(head),
            ([], None) => self.unit(units.start).owner,
            (several, _) => return self.describe_several(several),
        };
        let Some(subject) = subject else { return (None, None, None) };
        let name = &symbols[subject].name;
        (
            Some(symbols[subject].kind),
            (!name.is_empty()).then(|| name.clone()),
            Some(path(symbols, subject)).filter(|path| !path.is_empty()),
        )
    }

    fn describe_several(&self, several: &[usize]) -> (Option<&'static str>, Option<String>, Option<String>) {
        let symbols = &self.outline.symbols;
        let kind = symbols[several[0]].kind;
        let same = several.iter().all(|&symbol| symbols[symbol].kind == kind);
        let mut names: Vec<&str> = Vec::new();
        let mut length = 0;
        for name in several.iter().map(|&symbol| symbols[symbol].name.as_str()) {
            if name.is_empty() || names.contains(&name) {
                continue;
            }
            length += name.len();
            if length > NAMES_BYTES {
                break;
            }
            names.push(name);
        }
        let names = names.join(", ");
        let context = symbols[several[0]].parent.map(|parent| path(symbols, parent));
        (same.then_some(kind), (!names.is_empty()).then_some(names), context)
    }
}

/// Context path of a symbol: `impl Store for Sqlite > fn query(&self) -> Vec<Row>`.
fn path(symbols: &[Symbol], symbol: usize) -> String {
    let mut labels = Vec::new();
    let mut next = Some(symbol);
    while let Some(at) = next {
        labels.push(symbols[at].label.as_str());
        next = symbols[at].parent;
    }
    labels.retain(|label| !label.is_empty());
    // The innermost labels are the most specific; three are enough.
    labels.truncate(3);
    labels.reverse();
    labels.join(" > ")
}
