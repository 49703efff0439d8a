//! Chooses where windows over a text end and begin.
//!
//! If every window were filled to its limit, each cut would depend on the previous one, and one
//! inserted line would change every later chunk of the file. So both ends of a window depend on the
//! text alone: they are the strongest break in reach, and of equally strong ones the one with the
//! lowest hash of the text that follows. Two sequences of windows that are out of step soon choose
//! the same break and stay in step from there on.
//!
//! An end may be anywhere in the last half of the window, the next start anywhere in the overlap.
//! After an end that follows a blank line, only whole paragraphs are repeated, or nothing.

use std::cmp::Reverse;
use std::ops::Range;

use super::super::size::{Atom, Ruler, best_break, ends_sentence};

/// Number of bytes after a break that are hashed to choose among equally strong ones.
const MARK_BYTES: usize = 32;

/// Windows over the whole text, with sizes in characters.
pub(super) fn by_chars(ruler: &Ruler<'_>, overlap: usize) -> Vec<Range<usize>> {
    let text = ruler.text;
    let overlap = overlap.min(ruler.max - 1);
    // A window must extend past the overlap, so that every window adds new text.
    let least = (ruler.max / 2).max(overlap);
    let mut ranges = Vec::with_capacity(text.len() / (ruler.max - overlap).max(1) + 1);
    let mut start = 0;
    loop {
        let from = ruler.advance(start, least);
        let limit = ruler.advance(from, ruler.max - least);
        if limit >= text.len() {
            ranges.push(start..text.len());
            return ranges;
        }
        let end = strongest(text, from + 1..limit + 1).unwrap_or_else(|| best_break(text, from, limit));
        ranges.push(start..end);
        start = next_start(text, ruler.retreat(end, overlap).max(start + 1), end);
    }
}

/// Windows over sentences, words and slices, with sizes in tokens.
pub(super) fn by_tokens(atoms: &[Atom], ruler: &Ruler<'_>, overlap: usize) -> Vec<Range<usize>> {
    let bytes = ruler.text.as_bytes();
    let mut ranges = Vec::new();
    let (mut first, mut done) = (0, 0);
    while done < atoms.len() {
        let mut size = 0;
        let mut end = first;
        while end < atoms.len() && (end == first || size + atoms[end].size <= ruler.max) {
            size += atoms[end].size;
            end += 1;
        }
        if end < atoms.len() {
            let last_half = (done + 1..=end).rev().take_while(|&cut| {
                let enough = size >= ruler.max / 2;
                size -= atoms[cut - 1].size;
                enough
            });
            end = last_half.min_by_key(|&cut| (rank(bytes, atoms[cut - 1].end), Reverse(cut))).unwrap_or(end);
        }
        // Token counts may not add up, so measure the whole window.
        while end - first > 1 && !ruler.fits(atoms[first].start..atoms[end - 1].end) {
            end -= (end - first).div_ceil(8).min(end - first - 1);
        }
        if end <= done {
            first = done; // the overlap leaves no room for new text
            continue;
        }
        ranges.push(atoms[first].start..atoms[end - 1].end);
        done = end;
        let paragraphs = follows_blank(bytes, atoms[end - 1].end);
        let mut shared = 0;
        let shareable = (first + 1..end).rev().take_while(|&next| {
            shared += atoms[next].size;
            shared <= overlap
        });
        first = shareable
            .filter(|&next| !paragraphs || follows_blank(bytes, atoms[next].start))
            .min_by_key(|&next| (rank(bytes, atoms[next].start), next))
            .unwrap_or(end);
    }
    ranges
}

/// Strengths of breaks, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Strength {
    AfterBlank,
    Line,
    Sentence,
    Word,
}

/// Orders breaks, best first. Those between words are equal.
fn rank(bytes: &[u8], at: usize) -> (Strength, u64) {
    if follows_blank(bytes, at) {
        (Strength::AfterBlank, mark(bytes, at))
    } else if bytes[..at].ends_with(b"\n") {
        (Strength::Line, mark(bytes, at))
    } else if ends_sentence(bytes, at) {
        (Strength::Sentence, mark(bytes, at))
    } else {
        (Strength::Word, 0)
    }
}

/// The best break by [`rank`] among these offsets, none of which is 0: the start of a line, else
/// the end of a sentence.
fn strongest(text: &str, offsets: Range<usize>) -> Option<usize> {
    let bytes = text.as_bytes();
    let boundaries = offsets.clone().filter(|&at| text.is_char_boundary(at));
    best(bytes, lines(bytes, offsets))
        .or_else(|| best(bytes, boundaries.filter(|&at| ends_sentence(bytes, at))))
}

/// The best of these breaks. Where lines repeat, it is the last of the equal ones.
fn best(bytes: &[u8], breaks: impl Iterator<Item = usize>) -> Option<usize> {
    breaks.min_by_key(|&at| (rank(bytes, at), Reverse(at)))
}

/// Those of the offsets, none of which is 0, at which a line begins.
fn lines(bytes: &[u8], offsets: Range<usize>) -> impl Iterator<Item = usize> {
    let before = &bytes[offsets.start - 1..offsets.end - 1];
    memchr::memchr_iter(b'\n', before).map(move |at| offsets.start + at)
}

/// True if the previous line is blank.
fn follows_blank(bytes: &[u8], at: usize) -> bool {
    bytes[..at]
        .strip_suffix(b"\n")
        .is_some_and(|before| before.iter().rev().find(|byte| !matches!(byte, b' ' | b'\t')) == Some(&b'\n'))
}

/// Start of the window after one that ends at `end`, in `[from, end]`.
fn next_start(text: &str, from: usize, end: usize) -> usize {
    let from = text.ceil_char_boundary(from);
    if from >= end {
        return end;
    }
    let bytes = text.as_bytes();
    if follows_blank(bytes, end) {
        let paragraphs = lines(bytes, from..end).filter(|&at| follows_blank(bytes, at));
        return best(bytes, paragraphs).unwrap_or(end);
    }
    let mut words =
        (from..end).filter(|&at| text.is_char_boundary(at) && bytes[at - 1].is_ascii_whitespace());
    strongest(text, from..end).or_else(|| words.next()).unwrap_or(from)
}

/// Hash of the text that follows. It decides where chunks end and begin, so any change requires a
/// new version of the chunker.
fn mark(bytes: &[u8], at: usize) -> u64 {
    let mut following = [0; MARK_BYTES];
    let len = MARK_BYTES.min(bytes.len() - at);
    following[..len].copy_from_slice(&bytes[at..at + len]);
    let (words, _) = following.as_chunks();
    words.iter().fold(0, |hash, &word| {
        let hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^ (hash >> 32)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use super::super::super::size::Size;
    use super::*;

    /// Deterministic pseudo-random numbers.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, limit: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(self.0 >> 33).expect("31 bits fit") % limit
        }

        /// Words of about `length` characters in total.
        fn words(&mut self, length: usize) -> String {
            let mut line = String::new();
            while line.len() < length {
                let letters = 2 + self.below(8);
                line.extend(
                    (0..letters)
                        .map(|_| char::from(b'a' + u8::try_from(self.below(26)).expect("a small number"))),
                );
                line.push(' ');
            }
            line
        }
    }

    /// Kinds of test text.
    #[derive(Debug, Clone, Copy)]
    enum Kind {
        /// Code, with a blank line after about every fifth line.
        Code,
        /// One paragraph per line, with blank lines between.
        Prose,
        /// List entries without blank lines.
        List,
    }

    fn lines(kind: Kind, numbers: &mut Numbers) -> Vec<String> {
        (0..400)
            .map(|at| {
                let length = numbers.below(60);
                match kind {
                    Kind::Code if numbers.below(5) == 0 => String::new(),
                    Kind::Code => numbers.words(length),
                    Kind::Prose if at % 2 == 1 => String::new(),
                    Kind::Prose => (0..2 + numbers.below(5))
                        .map(|_| numbers.words(80).trim().to_owned() + ". ")
                        .collect(),
                    Kind::List => format!("- {}", numbers.words(20 + length)),
                }
            })
            .collect()
    }

    fn windows(text: &str, size: &Size, overlap: usize) -> Vec<String> {
        let ruler = size.ruler(text);
        let ranges = if ruler.exact() {
            by_chars(&ruler, overlap)
        } else {
            by_tokens(&ruler.atoms(0..text.len()), &ruler, overlap)
        };
        ranges.into_iter().map(|range| text[range].trim().to_owned()).collect()
    }

    /// Average number of windows that change when one line is inserted, over all positions.
    fn changed_by_a_line(kind: Kind, seed: u64, size: &Size, overlap: usize) -> f64 {
        let mut numbers = Numbers(seed);
        let lines = lines(kind, &mut numbers);
        let before: HashSet<String> = windows(&lines.join("\n"), size, overlap).into_iter().collect();
        let (mut changed, mut edits) = (0, 0);
        for at in (0..lines.len()).step_by(23) {
            let mut edited = lines.clone();
            edited.insert(at, numbers.words(40));
            let after = windows(&edited.join("\n"), size, overlap);
            changed += after.iter().filter(|window| !before.contains(*window)).count();
            edits += 1;
        }
        f64::from(u32::try_from(changed).expect("a small number")) / f64::from(edits)
    }

    #[test]
    fn an_insertion_changes_few_chunks_on_average() {
        let chars = (Size::chars(1000), 200);
        let tokens = (Size::tokens(250, Arc::new(|text: &str| text.len().div_ceil(4))), 50);
        for (kind, most) in [(Kind::Code, 1.6), (Kind::Prose, 1.5), (Kind::List, 1.8)] {
            for (size, overlap) in [&chars, &tokens] {
                let documents = 12;
                let changed: f64 =
                    (0..documents).map(|seed| changed_by_a_line(kind, seed * 7919 + 1, size, *overlap)).sum();
                let mean = changed / f64::from(u32::try_from(documents).expect("a small number"));
                assert!(mean <= most, "{kind:?}, {}: {mean}", size.describe());
            }
        }
    }

    #[test]
    fn a_blank_line_is_the_first_choice() {
        let text = "one two\nthree four\n\nfive six\nseven eight\nnine ten";
        assert_eq!(
            windows(text, &Size::chars(34), 0),
            ["one two\nthree four", "five six\nseven eight\nnine ten"]
        );
        // Not if the window would be less than half full.
        let early = "one two\n\nthree\nfour five\nsix seven eight nine";
        assert_eq!(windows(early, &Size::chars(26), 0)[0], "one two\n\nthree\nfour five");
        let spaced = "one two\nthree four\n \t\nfive six\nseven eight";
        assert_eq!(windows(spaced, &Size::chars(30), 0)[0], "one two\nthree four");
    }

    #[test]
    fn windows_over_repeated_lines_are_full() {
        let text = "0123456789 0123456789 0123456789 012345\n".repeat(100);
        let tokens = Size::tokens(250, Arc::new(|text: &str| text.len().div_ceil(4)));
        for size in [Size::chars(1000), tokens] {
            assert_eq!(windows(&text, &size, 0).len(), 4, "{}", size.describe());
        }
    }

    #[test]
    fn the_next_window_begins_at_the_strongest_break_of_the_overlap() {
        let text = "aaaa bbbb. cccc\ndddd\n\neeee ffff gggg hhhh";
        for (from, end, start) in [(2, 30, 22), (2, 21, 16), (2, 15, 10), (5, 9, 5), (6, 9, 6), (24, 29, 27)]
        {
            assert_eq!(next_start(text, from, end), start, "{from}..{end}");
        }
    }

    #[test]
    fn after_a_blank_line_only_whole_paragraphs_are_repeated() {
        let text = "One two.\nThree.\n\nFour five.\nSix.\n\nSeven eight nine.\n";
        let tokens = Size::tokens(37, Arc::new(str::len));
        for size in [Size::chars(37), tokens] {
            let whole = ["One two.\nThree.\n\nFour five.\nSix.", "Four five.\nSix.\n\nSeven eight nine."];
            assert_eq!(windows(text, &size, 17), whole, "{}", size.describe());
            let none = ["One two.\nThree.\n\nFour five.\nSix.", "Seven eight nine."];
            assert_eq!(windows(text, &size, 16), none, "{}", size.describe());
        }
    }
}
