//! Chooses where windows over a text end and begin.
//!
//! If every window were filled to its limit, each cut would depend on the previous one, and one
//! inserted line would change every later chunk of the file. So both ends of a window prefer
//! positions that depend on the text alone: a window ends after a blank line if its last three
//! fifths contain one, and the next one begins at the strongest break of the overlap; ties are
//! broken by the lowest hash of the text that follows. Two sequences of windows that are out of
//! step sooner or later pick the same position and stay in step from there on.

use std::ops::Range;

use super::super::size::{Atom, Ruler, best_break, ends_sentence};

/// Number of bytes after a break that are hashed to break ties.
const MARK_BYTES: usize = 32;

/// Windows over the whole text, with sizes in characters.
pub(super) fn by_chars(ruler: &Ruler<'_>, overlap: usize) -> Vec<Range<usize>> {
    let text = ruler.text;
    let overlap = overlap.min(ruler.max - 1);
    // A window must extend past the overlap, so that every window adds new text.
    let least_to_blank = least_to_blank(ruler.max).max(overlap);
    let least = (ruler.max / 2).max(overlap);
    let mut ranges = Vec::with_capacity(text.len() / (ruler.max - overlap).max(1) + 1);
    let mut start = 0;
    loop {
        let from = ruler.advance(start, least_to_blank);
        let limit = ruler.advance(from, ruler.max - least_to_blank);
        if limit >= text.len() {
            ranges.push(start..text.len());
            return ranges;
        }
        let end = last_after_blank(text, from, limit)
            .unwrap_or_else(|| best_break(text, ruler.advance(from, least - least_to_blank), limit));
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
            let mut cut = end;
            while cut > done && size >= least_to_blank(ruler.max) {
                if follows_blank(bytes, atoms[cut - 1].end) {
                    end = cut;
                    break;
                }
                cut -= 1;
                size -= atoms[cut].size;
            }
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
        let mut shared = 0;
        let shareable = (first + 1..end).rev().take_while(|&next| {
            shared += atoms[next].size;
            shared <= overlap
        });
        first = shareable
            .min_by_key(|&next| {
                let at = atoms[next].start;
                let strength = strength(bytes, at);
                (strength, if strength == Strength::Word { 0 } else { mark(bytes, at) }, next)
            })
            .unwrap_or(end);
    }
    ranges
}

/// Minimum size of a window that ends early, after a blank line.
fn least_to_blank(max: usize) -> usize {
    max * 2 / 5
}

/// Break strengths at which a window may begin, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Strength {
    AfterBlank,
    Line,
    Sentence,
    Word,
}

fn strength(bytes: &[u8], at: usize) -> Strength {
    if follows_blank(bytes, at) {
        Strength::AfterBlank
    } else if bytes[..at].ends_with(b"\n") {
        Strength::Line
    } else if ends_sentence(bytes, at) {
        Strength::Sentence
    } else {
        Strength::Word
    }
}

/// The last offset in `(from, to]` right after a blank line.
fn last_after_blank(text: &str, from: usize, to: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let inside = bytes.get(from..to).unwrap_or_default();
    memchr::memrchr_iter(b'\n', inside).map(|at| from + at + 1).find(|&at| follows_blank(bytes, at))
}

/// True if the previous line is blank.
fn follows_blank(bytes: &[u8], at: usize) -> bool {
    bytes[..at]
        .strip_suffix(b"\n")
        .is_some_and(|before| before.iter().rev().find(|byte| !matches!(byte, b' ' | b'\t')) == Some(&b'\n'))
}

/// Start of the next window, in `[from, end)`: after a blank line, else at a line or a sentence,
/// else at the first word, else at `from`.
fn next_start(text: &str, from: usize, end: usize) -> usize {
    let from = text.ceil_char_boundary(from);
    if from >= end {
        return end;
    }
    let bytes = text.as_bytes();
    let lines = || memchr::memchr_iter(b'\n', &bytes[from - 1..end - 1]).map(|at| from + at);
    let boundaries = || (from..end).filter(|&at| text.is_char_boundary(at));
    lines()
        .filter(|&at| follows_blank(bytes, at))
        .min_by_key(|&at| mark(bytes, at))
        .or_else(|| lines().min_by_key(|&at| mark(bytes, at)))
        .or_else(|| boundaries().filter(|&at| ends_sentence(bytes, at)).min_by_key(|&at| mark(bytes, at)))
        .or_else(|| boundaries().find(|&at| bytes[at - 1].is_ascii_whitespace()))
        .unwrap_or(from)
}

/// Hash of the text that follows on the line: FNV-1a with a finalizer that spreads it over all
/// bits. It decides where chunks begin, so any change requires a new version of the chunker.
fn mark(bytes: &[u8], at: usize) -> u64 {
    let line = bytes[at..].iter().take(MARK_BYTES).take_while(|&&byte| byte != b'\n');
    let hash = line.fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 29)
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
        for (kind, most) in [(Kind::Code, 2.2), (Kind::Prose, 2.2), (Kind::List, 5.0)] {
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
        // Not if the window would be less than two fifths full.
        let early = "one\n\ntwo three\nfour five\nsix seven eight nine";
        assert_eq!(windows(early, &Size::chars(26), 0)[0], "one\n\ntwo three\nfour five");
        let spaced = "one two\nthree four\n \t\nfive six\nseven eight";
        assert_eq!(windows(spaced, &Size::chars(30), 0)[0], "one two\nthree four");
    }

    #[test]
    fn the_next_window_begins_at_the_strongest_break_of_the_overlap() {
        let text = "aaaa bbbb. cccc\ndddd\n\neeee ffff gggg hhhh";
        for (from, end, start) in [(2, 30, 22), (2, 21, 16), (2, 15, 10), (5, 9, 5), (6, 9, 6), (24, 29, 27)]
        {
            assert_eq!(next_start(text, from, end), start, "{from}..{end}");
        }
    }
}
