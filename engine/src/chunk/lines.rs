//! A document as lines with sizes: what markdown and code are cut along.

use std::ops::Range;

use super::size::{Ruler, trim_lines};

/// The lines of one document. Line numbers count from 0; every line ends with its newline.
pub(super) struct Lines<'a> {
    pub(super) ruler: &'a Ruler<'a>,
    /// Where each line starts, and the end of the text.
    starts: Vec<usize>,
    /// Sizes summed up: `sums[n]` is the size of the lines before n. None where bytes tell.
    sums: Option<Vec<usize>>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(ruler: &'a Ruler<'a>) -> Self {
        let bytes = ruler.text.as_bytes();
        let mut starts = Vec::with_capacity(bytes.len() / 24 + 2);
        starts.push(0);
        starts.extend(memchr::memchr_iter(b'\n', bytes).map(|at| at + 1));
        if starts.last() != Some(&bytes.len()) {
            starts.push(bytes.len());
        }
        let sums = (!ruler.bytes()).then(|| {
            let mut sum = 0;
            let sizes = starts.windows(2).map(|line| {
                sum += ruler.measure(line[0]..line[1]);
                sum
            });
            std::iter::once(0).chain(sizes).collect()
        });
        Self { ruler, starts, sums }
    }

    /// How many lines there are.
    pub(super) fn count(&self) -> usize {
        self.starts.len() - 1
    }

    /// The line that holds a byte of the text.
    pub(super) fn line_of(&self, at: usize) -> usize {
        self.starts
            .partition_point(|&start| start <= at)
            .saturating_sub(1)
            .min(self.count().saturating_sub(1))
    }

    /// The bytes of some lines.
    pub(super) fn bytes(&self, lines: Range<usize>) -> Range<usize> {
        self.starts[lines.start]..self.starts[lines.end]
    }

    /// One line without its newline.
    pub(super) fn text(&self, line: usize) -> &'a str {
        let text = &self.ruler.text[self.bytes(line..line + 1)];
        text.strip_suffix('\n').unwrap_or(text)
    }

    /// The size of some lines, in constant time.
    pub(super) fn size(&self, lines: Range<usize>) -> usize {
        match &self.sums {
            None => self.bytes(lines).len(),
            Some(sums) => sums[lines.end] - sums[lines.start],
        }
    }

    /// True when some lines fit into one chunk.
    pub(super) fn fit(&self, lines: Range<usize>) -> bool {
        self.size(lines) <= self.ruler.max
    }

    /// True for a line of nothing but white space.
    pub(super) fn blank(&self, line: usize) -> bool {
        self.text(line).trim_start().is_empty()
    }

    /// Bytes of white space a line begins with.
    fn indent(&self, line: usize) -> usize {
        let text = self.text(line);
        text.len() - text.trim_start_matches([' ', '\t']).len()
    }

    /// Cuts lines into ranges that fit, knowing nothing of their meaning: preferably at blank
    /// lines, and among these before the line that is indented least. A line that does not fit
    /// by itself is cut as running text.
    pub(super) fn split(&self, lines: Range<usize>) -> Vec<Range<usize>> {
        let mut ranges = Vec::new();
        let mut first = lines.start;
        while first < lines.end {
            let mut end = self.reach(first, lines.end);
            if end == first {
                self.finish(first..first + 1, &mut ranges);
                first += 1;
                continue;
            }
            if end < lines.end {
                end = self.best_cut(first, end);
            }
            self.finish(first..end, &mut ranges);
            first = end;
        }
        ranges
    }

    /// The last line up to which everything from `first` fits.
    fn reach(&self, first: usize, limit: usize) -> usize {
        let mut end = first;
        while end < limit && self.fit(first..end + 1) {
            end += 1;
        }
        end
    }

    /// The best place to cut in the second half of what fits.
    fn best_cut(&self, first: usize, end: usize) -> usize {
        let half = self.size(first..end) / 2;
        (first + 1..=end)
            .rev()
            .take_while(|&cut| self.size(first..cut) >= half)
            .min_by_key(|&cut| {
                let fresh = self.blank(cut - 1) && !self.blank(cut);
                (!fresh, self.indent(cut))
            })
            .unwrap_or(end)
    }

    /// Adds some lines as one range, or as several where they do not fit after all: one line that
    /// is too long, or tokens that did not sum up.
    pub(super) fn finish(&self, lines: Range<usize>, ranges: &mut Vec<Range<usize>>) {
        let range = trim_lines(self.ruler.text, self.bytes(lines.clone()));
        if range.is_empty() {
            return;
        }
        let sure = self.ruler.exact() && self.fit(lines);
        if sure || self.ruler.fits(range.clone()) {
            ranges.push(range);
            return;
        }
        for part in self.ruler.split(range) {
            let part = trim_lines(self.ruler.text, part);
            if !part.is_empty() {
                ranges.push(part);
            }
        }
    }
}
