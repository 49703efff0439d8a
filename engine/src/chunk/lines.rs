//! A document as lines with sizes, as the Markdown and code chunkers need it.

use std::ops::Range;

use super::size::{Ruler, trim_lines};

/// The lines of one document, numbered from 0. Each line includes its newline.
pub(super) struct Lines<'a> {
    pub(super) ruler: &'a Ruler<'a>,
    /// Byte offset of each line, followed by the length of the text.
    starts: Vec<usize>,
    /// Prefix sums of sizes: `sums[n]` is the size of the lines before line n. `None` if sizes are
    /// byte lengths.
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

    /// Number of lines.
    pub(super) fn count(&self) -> usize {
        self.starts.len() - 1
    }

    /// The line that contains this byte offset.
    pub(super) fn line_of(&self, at: usize) -> usize {
        self.starts
            .partition_point(|&start| start <= at)
            .saturating_sub(1)
            .min(self.count().saturating_sub(1))
    }

    /// The byte range of these lines.
    pub(super) fn bytes(&self, lines: Range<usize>) -> Range<usize> {
        self.starts[lines.start]..self.starts[lines.end]
    }

    /// The text of one line, without its newline.
    pub(super) fn text(&self, line: usize) -> &'a str {
        let text = &self.ruler.text[self.bytes(line..line + 1)];
        text.strip_suffix('\n').unwrap_or(text)
    }

    /// The size of these lines, in constant time.
    pub(super) fn size(&self, lines: Range<usize>) -> usize {
        match &self.sums {
            None => self.bytes(lines).len(),
            Some(sums) => sums[lines.end] - sums[lines.start],
        }
    }

    /// True if these lines fit into one chunk.
    pub(super) fn fit(&self, lines: Range<usize>) -> bool {
        self.size(lines) <= self.ruler.max
    }

    /// True if the line is blank.
    pub(super) fn blank(&self, line: usize) -> bool {
        self.text(line).trim_start().is_empty()
    }

    /// Length of the line's leading white space in bytes.
    fn indent(&self, line: usize) -> usize {
        let text = self.text(line);
        text.len() - text.trim_start_matches([' ', '\t']).len()
    }

    /// Cuts lines into ranges that fit, without regard to syntax: preferably at blank lines, and
    /// of these at the one before the line with the smallest indentation. A single line that does
    /// not fit is cut like prose.
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

    /// The end (exclusive) of the longest range from `first` that fits.
    fn reach(&self, first: usize, limit: usize) -> usize {
        let mut end = first;
        while end < limit && self.fit(first..end + 1) {
            end += 1;
        }
        end
    }

    /// The best line to cut at, in the second half of the range.
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

    /// Adds these lines as one range, or as several if they do not fit: a single line that is too
    /// long, or a token count that exceeds the sum of its parts.
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
