//! The text of an indexed file, put together from its chunks.

use crate::model::{StageResult, file_prefix};
use crate::store::TextChunk;
use crate::sync::ProjectStore;

/// Maximum number of chunks of a file that are read.
const MOST: usize = 20_000;

/// The longest text that two chunks are expected to share, in bytes.
const OVERLAP: usize = 8 << 10;

/// Shorter texts that end one chunk and begin the next are taken for chance, unless they are a whole line.
const LEAST: usize = 8;

/// The chunks of a file, in order; none if it is not in the index.
pub async fn file_chunks(place: &ProjectStore, repository: &str, path: &str) -> StageResult<Vec<TextChunk>> {
    let prefix = format!("{}-", file_prefix(&place.project, repository, path));
    let mut ids = Vec::new();
    let mut after = None;
    loop {
        let page = place.store.list(&place.namespace, &prefix, after).await?;
        ids.extend(page.ids);
        after = page.next;
        if after.is_none() || ids.len() >= MOST {
            break;
        }
    }
    let stored = place.store.fetch(&place.namespace, &ids).await?;
    let mut chunks: Vec<TextChunk> = stored.iter().map(|one| TextChunk::of(&one.metadata)).collect();
    chunks.sort_by_key(|chunk| chunk.index);
    Ok(chunks)
}

/// The text of a file with the numbers of its lines.
#[derive(Debug, Clone, Default)]
pub struct FileText {
    text: String,
    lines: Vec<Line>,
}

#[derive(Debug, Clone, Copy)]
struct Line {
    /// Where it begins in the text.
    start: usize,
    /// Its number in the file.
    number: u64,
    /// The position of the chunk that it is from.
    chunk: usize,
}

impl FileText {
    /// Puts chunks together. Text that two of them share is taken once.
    ///
    /// Line numbers are those of the file, except after blank lines that a chunker removed inside a chunk:
    /// the lines after the last of them are counted from the chunk's end.
    pub fn of(chunks: &[TextChunk]) -> Self {
        let mut file = Self::default();
        for (at, chunk) in chunks.iter().enumerate() {
            file.push(at, chunk);
        }
        file
    }

    /// The lines, joined by line feeds.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Number of the last line; 0 if there is none.
    pub fn last_line(&self) -> u64 {
        self.lines.last().map_or(0, |line| line.number)
    }

    /// The lines with numbers in this range. Blank lines that no chunk has are given, too, so that successive
    /// lines have successive numbers.
    pub fn lines(&self, from: u64, to: u64) -> Vec<(u64, &str)> {
        let mut lines = Vec::new();
        let first = self.lines.partition_point(|line| line.number < from);
        for at in first..self.lines.len() {
            let number = self.lines[at].number;
            if number > to {
                break;
            }
            if let Some((last, _)) = lines.last().copied() {
                lines.extend((last + 1..number).map(|blank| (blank, "")));
            }
            lines.push((number, self.line(at)));
        }
        lines
    }

    /// The line at a byte of the text: its number, its text, the position of its chunk, and where the next
    /// line begins.
    pub fn at(&self, byte: usize) -> Option<(u64, &str, usize, usize)> {
        let at = self.lines.partition_point(|line| line.start <= byte).checked_sub(1)?;
        let next = self.lines.get(at + 1).map_or(self.text.len() + 1, |line| line.start);
        Some((self.lines[at].number, self.line(at), self.lines[at].chunk, next))
    }

    fn line(&self, at: usize) -> &str {
        let end = self.lines.get(at + 1).map_or(self.text.len(), |next| next.start - 1);
        &self.text[self.lines[at].start..end]
    }

    fn push(&mut self, at: usize, chunk: &TextChunk) {
        let shares = !self.lines.is_empty() && chunk.start_line <= self.last_line();
        let known = if shares { shared(&self.text, &chunk.text) } else { 0 };
        let mut start = 0;
        for (number, line) in numbered(chunk) {
            let end = start + line.len();
            if end >= known {
                let is_new = start >= known && (start > 0 || number > self.last_line());
                if is_new || self.lines.is_empty() {
                    self.add_line(number, at, line);
                } else {
                    self.continue_line(line, known.saturating_sub(start));
                }
            }
            start = end + 1;
        }
    }

    fn add_line(&mut self, number: u64, chunk: usize, line: &str) {
        if !self.lines.is_empty() {
            self.text.push('\n');
        }
        let number = number.max(self.last_line() + u64::from(!self.lines.is_empty()));
        self.lines.push(Line { start: self.text.len(), number, chunk });
        self.text.push_str(line);
    }

    /// Adds to the last line what follows the `known` bytes.
    fn continue_line(&mut self, line: &str, known: usize) {
        if known == 0 {
            // White space between chunks is not kept.
            self.text.push(' ');
        }
        self.text.push_str(&line[known..]);
    }
}

/// The length of the longest end of `before` that `after` begins with.
fn shared(before: &str, after: &str) -> usize {
    let most = before.len().min(after.len()).min(OVERLAP);
    let (before, text) = (before.as_bytes(), after.as_bytes());
    let fits = |n: &usize| after.is_char_boundary(*n) && before.ends_with(&text[..*n]);
    let long = (LEAST..=most).rev().find(fits);
    let line = || after.split_once('\n').map(|(line, _)| line.len()).filter(|length| fits(length));
    long.or_else(line).unwrap_or(0)
}

/// The lines of a chunk with their numbers.
fn numbered(chunk: &TextChunk) -> impl Iterator<Item = (u64, &str)> {
    let lines: Vec<&str> = chunk.text.split('\n').collect();
    let span = chunk.end_line.saturating_sub(chunk.start_line) + 1;
    let removed = span.saturating_sub(lines.len() as u64);
    let last_blank = lines.iter().rposition(|line| line.trim().is_empty());
    lines.into_iter().enumerate().map(move |(at, line)| {
        let after_blank = last_blank.is_some_and(|blank| at > blank);
        (chunk.start_line + at as u64 + if after_blank { removed } else { 0 }, line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(start_line: u64, end_line: u64, text: &str) -> TextChunk {
        TextChunk { start_line, end_line, text: text.to_owned(), ..TextChunk::default() }
    }

    fn lines(chunks: &[TextChunk]) -> Vec<(u64, String)> {
        let file = FileText::of(chunks);
        file.lines(1, u64::MAX).into_iter().map(|(number, line)| (number, line.to_owned())).collect()
    }

    fn expected(lines: &[(u64, &str)]) -> Vec<(u64, String)> {
        lines.iter().map(|(number, line)| (*number, (*line).to_owned())).collect()
    }

    #[test]
    fn chunks_are_put_together_by_their_lines() {
        // Successive lines, with a blank line between the chunks.
        let apart = [chunk(1, 2, "a\nb"), chunk(4, 4, "d")];
        assert_eq!(lines(&apart), expected(&[(1, "a"), (2, "b"), (3, ""), (4, "d")]));
        // One long line that was cut without overlap.
        let cut = [chunk(1, 1, "One sentence."), chunk(1, 2, "Another one.\nEnd")];
        assert_eq!(lines(&cut), expected(&[(1, "One sentence. Another one."), (2, "End")]));
        // The second chunk repeats the end of the first: a part of a line, or whole lines.
        let overlap = [chunk(1, 2, "first line\nsecond sentence. "), chunk(2, 3, "sentence. More.\nlast")];
        let joined = [chunk(1, 2, "first line\nsecond sentence."), chunk(2, 3, "sentence. More.\nlast")];
        assert_eq!(
            lines(&joined),
            expected(&[(1, "first line"), (2, "second sentence. More."), (3, "last")])
        );
        assert_eq!(lines(&overlap)[0].1, "first line");
        let whole = [chunk(1, 3, "first\nsecond\nthird line"), chunk(2, 4, "second\nthird line\nfourth")];
        let all = [(1, "first"), (2, "second"), (3, "third line"), (4, "fourth")];
        assert_eq!(lines(&whole), expected(&all));
    }

    #[test]
    fn removed_blank_lines_move_the_lines_after_them() {
        let folded = [chunk(1, 5, "a\n\nb")];
        assert_eq!(FileText::of(&folded).lines(5, 5), [(5, "b")]);
        // A chunk without its own lines, and none at all.
        assert_eq!(lines(&[chunk(0, 0, "")]).len(), 0);
        assert!(FileText::of(&[]).at(0).is_none());
    }

    #[test]
    fn a_byte_is_on_a_line() {
        let file = FileText::of(&[chunk(1, 2, "ab\ncd"), chunk(7, 7, "é")]);
        assert_eq!(file.text(), "ab\ncd\né");
        let at =
            |byte| file.at(byte).map(|(number, line, chunk, next)| (number, line.to_owned(), chunk, next));
        assert_eq!(at(0), Some((1, "ab".into(), 0, 3)));
        assert_eq!(at(4), Some((2, "cd".into(), 0, 6)));
        assert_eq!(at(6), Some((7, "é".into(), 1, 9)));
    }
}
