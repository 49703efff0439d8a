//! The size of an answer, in tokens.

use crate::app::count_tokens;

/// Tokens of an answer, unless the call asks for another number.
const DEFAULT: usize = 8_000;
const LEAST: usize = 200;
const MOST: usize = 50_000;
/// Tokens kept for the last line, which says how to go on.
const LAST_LINE: usize = 100;

/// An answer that grows by whole pieces while they fit.
#[derive(Debug)]
pub(super) struct Budgeted {
    text: String,
    left: usize,
}

impl Budgeted {
    /// An empty answer of at most `tokens`; `None`: 8,000.
    pub(super) fn new(tokens: Option<usize>) -> Self {
        let most = tokens.unwrap_or(DEFAULT).clamp(LEAST, MOST);
        Self { text: String::new(), left: most - LAST_LINE }
    }

    /// Adds a piece if it fits; false: it does not, and nothing was added.
    pub(super) fn push(&mut self, piece: &str) -> bool {
        let tokens = count_tokens(piece);
        let fits = tokens <= self.left;
        if fits {
            self.left -= tokens;
            self.text.push_str(piece);
        }
        fits
    }

    /// Adds as many of the first lines of a text as fit, framed by `before` and `after`; returns their number.
    pub(super) fn push_lines(&mut self, before: &str, lines: &[&str], after: &str) -> usize {
        let frame = count_tokens(before) + count_tokens(after);
        let Some(mut left) = self.left.checked_sub(frame) else { return 0 };
        let mut taken = 0;
        let mut text = before.to_owned();
        for line in lines {
            // The line feed may be a token of its own.
            let tokens = count_tokens(line) + 1;
            if tokens > left {
                break;
            }
            left -= tokens;
            text.push_str(line);
            text.push('\n');
            taken += 1;
        }
        if taken > 0 {
            text.push_str(after);
            self.left = left;
            self.text.push_str(&text);
        }
        taken
    }

    /// The answer with a last line.
    pub(super) fn finish(mut self, last: &str) -> String {
        self.text.push_str(last);
        self.text.push('\n');
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_whole_pieces_and_stays_within_its_budget() {
        let mut answer = Budgeted::new(Some(LEAST));
        let piece = "one two three four five six seven eight\n";
        let mut taken = 0;
        while answer.push(piece) {
            taken += 1;
        }
        assert!(taken > 3 && !answer.push(piece) && answer.push("a"));
        let text = answer.finish("Go on with offset=3.");
        assert!(count_tokens(&text) <= LEAST, "{text}");

        let mut answer = Budgeted::new(Some(0));
        let lines = ["let a = 1;"; 100];
        let taken = answer.push_lines("before\n", &lines, "after\n");
        let text = answer.finish("the end");
        assert!(taken > 5 && taken < 100 && count_tokens(&text) <= LEAST, "{taken}");
        assert!(text.starts_with("before\nlet a = 1;\n") && text.ends_with("after\nthe end\n"), "{text}");
    }
}
