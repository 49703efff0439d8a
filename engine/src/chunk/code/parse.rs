//! Parses a text into a syntax tree in bounded time.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::time::Duration;

use tree_sitter::{ParseOptions, ParseState, Parser, Tree};

use super::syntax::Syntax;
use crate::cpu_time::thread_time;

/// Bytes handed to the parser per read; small enough to count how often it rereads the same text.
const READ_BYTES: usize = 4096;

/// Number of progress callbacks (of a hundred steps each) per reading of the thread's clock, which is a system call.
const CALLS_PER_CLOCK_READ: usize = 64;

thread_local! {
    /// Parsers keep buffers but no state between texts: a tree depends on the text alone.
    static PARSER: RefCell<Parser> = RefCell::new(Parser::new());
}

/// A parse exceeded its CPU time limit.
///
/// Fails the file instead of falling back to lines, because chunks must not depend on the speed of
/// the machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooSlow;

/// The syntax tree of a text, including error nodes; `None` if it takes far more steps than real
/// code.
pub(super) fn parse(syntax: Syntax, text: &str) -> Result<Option<Tree>, TooSlow> {
    parse_within(syntax, text, &thread_time)
}

/// CPU time limit of a parse: a hundred times what real code takes. Error recovery is quadratic in
/// some grammars, in steps that are individually cheap. The limit is a safety net for hostile
/// files; everything else is stopped by the step count, which is deterministic.
fn most_time(text: &str) -> Duration {
    Duration::from_millis(250 + text.len() as u64 / 500)
}

fn parse_within(syntax: Syntax, text: &str, time: &dyn Fn() -> Duration) -> Result<Option<Tree>, TooSlow> {
    // Measured on real files: one progress callback per 50 to 220 bytes (28 in the densest tables),
    // and each byte is read at most nine times. Broken code takes far more of both: error recovery
    // tries many alternatives, and each of them scans an unclosed comment or string to the end of
    // the file.
    let calls = Cell::new(200 + text.len() / 25);
    let reads = Cell::new(64 + 32 * text.len() / READ_BYTES);
    let end = time().saturating_add(most_time(text));
    let slow = Cell::new(false);
    let take = |left: &Cell<usize>| left.replace(left.get().saturating_sub(1)) > 0;
    let mut bounded = |_: &ParseState| {
        if calls.get().is_multiple_of(CALLS_PER_CLOCK_READ) {
            slow.set(time() > end);
        }
        let goes_on = take(&calls) && reads.get() > 0 && !slow.get();
        if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let bytes = safe_bytes(syntax, text);
    let mut read = |at: usize, _| {
        let end = if take(&reads) { bytes.len().min(at.saturating_add(READ_BYTES)) } else { 0 };
        bytes.get(at..end).unwrap_or_default()
    };
    let tree = PARSER.with_borrow_mut(|parser| {
        // Fails if the grammar was generated for an incompatible version of the library.
        parser.set_language(&syntax.grammar()).ok()?;
        let options = ParseOptions::new().progress_callback(&mut bounded);
        let tree = parser.parse_with_options(&mut read, None, Some(options));
        // Without a reset, the next call would resume an aborted parse.
        parser.reset();
        // If the read budget is exhausted, the tree may cover only part of the text.
        tree.filter(|_| reads.get() > 0)
    });
    if slow.get() { Err(TooSlow) } else { Ok(tree) }
}

/// The bytes to parse, as many as the text has. The scanner of tree-sitter-bash 0.25.1 calls `isdigit` with
/// code points, for which the C library reads beyond its table: a text with `{` before U+F0000 crashed the
/// process. Each byte that is not ASCII is therefore replaced by a letter.
fn safe_bytes(syntax: Syntax, text: &str) -> Cow<'_, [u8]> {
    if syntax != Syntax::Bash || text.is_ascii() {
        return text.as_bytes().into();
    }
    text.bytes().map(|byte| if byte.is_ascii() { byte } else { b'x' }).collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_points_beyond_the_tables_of_the_c_library_do_not_reach_the_scanner_of_bash() {
        for character in ['\u{F0000}', '\u{10FFFF}', '\u{4E00}', 'é'] {
            for before in ["echo {", "echo {1..", "case $x in ", "echo ${", "<<"] {
                let text = format!("{before}{character}\n}}\necho done\n");
                let tree = parse(Syntax::Bash, &text).expect("quick").expect("a tree");
                assert_eq!(tree.root_node().end_byte(), text.len(), "{text:?}");
            }
        }
    }

    #[test]
    fn a_parse_that_takes_too_long_is_given_up() {
        let text = "int f(void) { return 1; }\n".repeat(1000);
        let slow = Cell::new(Duration::ZERO);
        let tick = |by: u64| slow.replace(slow.get() + Duration::from_millis(by));
        assert!(parse_within(Syntax::C, &text, &|| tick(0)).is_ok_and(|tree| tree.is_some()));
        assert_eq!(parse_within(Syntax::C, &text, &|| tick(100)).err(), Some(TooSlow));
        assert!(parse(Syntax::C, &text).is_ok_and(|tree| tree.is_some()), "the parser was reset");
    }
}
