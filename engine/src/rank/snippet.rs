//! The lines of a chunk that show why it was found.

use serde::{Deserialize, Serialize};

use super::text::{is_spaceless, is_word};
use super::words::Words;

/// Part of a chunk's text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Snippet {
    /// The lines, in order and without gaps.
    pub lines: Vec<SnippetLine>,
    /// How many different words of the query the lines have.
    #[serde(default)]
    pub words: usize,
    /// Lines of the chunk before the first.
    pub before: usize,
    /// Lines of the chunk after the last.
    pub after: usize,
}

/// A line with the places of the query's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SnippetLine {
    /// The line in the file, 1-based; 0 if the chunk's place is not known.
    pub line: u64,
    /// The text, without the end of the line.
    pub text: String,
    /// Byte ranges of words of the query, in order.
    #[schema(value_type = Vec<Vec<usize>>)]
    pub matches: Vec<(usize, usize)>,
}

/// The `most` successive lines of a text that have most words of the query; the first of them if
/// several do, and the text's beginning if none has any. `start` is the file's line of the first.
pub fn snippet(words: &Words, text: &str, start: u64, most: usize) -> Snippet {
    let all: Vec<&str> = text.lines().map(str::trim_end).collect();
    let found: Vec<Vec<(usize, usize, usize)>> = all.iter().map(|line| places(words, line)).collect();
    let first_full = all.iter().position(|line| !line.is_empty()).unwrap_or(0);
    let most = most.max(1);
    let mut best = (0, 0, first_full);
    for from in first_full..all.len() {
        let window = &found[from..(from + most).min(all.len())];
        let mut seen = vec![false; words.list().len()];
        let mut total = 0;
        for (word, ..) in window.iter().flatten() {
            seen[*word] = true;
            total += 1;
        }
        let different = seen.iter().filter(|seen| **seen).count();
        if (different, total) > (best.0, best.1) {
            best = (different, total, from);
        }
    }
    // A window near the end is moved up so that it is full, if the text has lines enough.
    let (_, _, mut from) = best;
    from = from.min(all.len().saturating_sub(most)).max(first_full.min(from));
    let until = (from + most).min(all.len());
    let mut seen: Vec<usize> = found[from..until].iter().flatten().map(|(word, ..)| *word).collect();
    seen.sort_unstable();
    seen.dedup();
    let lines = (from..until).map(|at| SnippetLine {
        line: if start == 0 { 0 } else { start + at as u64 },
        text: all[at].to_owned(),
        matches: found[at].iter().map(|(_, from, to)| (*from, *to)).collect(),
    });
    Snippet { lines: lines.collect(), words: seen.len(), before: from, after: all.len() - until }
}

/// The words of the query in a line: which one, and its byte range.
fn places(words: &Words, line: &str) -> Vec<(usize, usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    for piece in pieces(line) {
        let from = at + line[at..].find(piece).unwrap_or(0);
        at = from + piece.len();
        if piece.chars().next().is_some_and(is_spaceless) {
            pairs(words, piece, from, &mut found);
        } else if let Some(word) = words.find(&super::text::searchable(piece)) {
            found.push((word, from, at));
        }
    }
    found
}

/// The pairs of characters of a run without spaces that are words of the query; those that overlap are
/// one place.
fn pairs(words: &Words, run: &str, start: usize, found: &mut Vec<(usize, usize, usize)>) {
    let places: Vec<(usize, char)> = run.char_indices().collect();
    for (n, (from, c)) in places.iter().enumerate() {
        let end = places.get(n + 2).map_or(run.len(), |(at, _)| *at);
        let word = words.find(&run[*from..end]).or_else(|| words.find(c.encode_utf8(&mut [0; 4])));
        let Some(word) = word else { continue };
        let (from, end) = (start + from, start + end);
        match found.last_mut() {
            Some(last) if last.2 >= from => last.2 = end,
            _ => found.push((word, from, end)),
        }
    }
}

/// The words of a line as written; identifiers are split into their parts.
fn pieces(line: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut from = None;
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        let begins = is_word(c)
            && (is_spaceless(c) != is_spaceless(before)
                || (c.is_ascii_uppercase()
                    && (before.is_ascii_lowercase()
                        || before.is_ascii_digit()
                        || (before.is_ascii_uppercase()
                            && line[at + 1..].starts_with(|next: char| next.is_ascii_lowercase())))));
        if let Some(start) = from
            && (!is_word(c) || begins)
        {
            pieces.push(&line[start..at]);
            from = None;
        }
        if from.is_none() && is_word(c) {
            from = Some(at);
        }
        before = c;
    }
    pieces.extend(from.map(|start| &line[start..]));
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(query: &str, text: &str, most: usize) -> Vec<String> {
        let found = snippet(&Words::new(query), text, 10, most);
        let mark = |line: SnippetLine| {
            let mut marked = String::new();
            let mut at = 0;
            for (from, to) in line.matches {
                marked += &format!("{}[{}]", &line.text[at..from], &line.text[from..to]);
                at = to;
            }
            format!("{} {marked}{}", line.line, &line.text[at..])
        };
        found.lines.into_iter().map(mark).collect()
    }

    #[test]
    fn the_lines_that_match_are_shown() {
        let text = "fn a() {}\n\nfn b() {}\n// retries the upload\nfn retryUpload() {}\nfn c() {}\n";
        assert_eq!(
            shown("upload retry", text, 2),
            ["13 // [retries] the [upload]", "14 fn [retry][Upload]() {}"]
        );
        assert_eq!(shown("nothing here", text, 2), ["10 fn a() {}", "11 "]);
        assert_eq!(
            shown("c", text, 3),
            ["13 // retries the upload", "14 fn retryUpload() {}", "15 fn [c]() {}"]
        );
        assert_eq!(shown("全文検索", "これは全文検索です", 1), ["10 これは[全文検索]です"]);
        assert_eq!(shown("x", "", 3), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn ranges_are_characters_of_the_line(text in "[a-zA-Z_ \n検索全文é\u{301}]{0,60}", query in "[a-z検索 ]{0,10}", most in 0usize..5) {
            let found = snippet(&Words::new(&query), &text, 1, most);
            prop_assert!(found.lines.len() <= most.max(1));
            prop_assert_eq!(found.before + found.lines.len() + found.after, text.lines().count());
            for line in &found.lines {
                let mut last = 0;
                for (from, to) in &line.matches {
                    prop_assert!(last <= *from && from < to && line.text.get(*from..*to).is_some());
                    last = *to;
                }
            }
        }
    }
}
