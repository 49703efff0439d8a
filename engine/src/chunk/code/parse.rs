//! A text into a syntax tree, in bounded time.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::time::Duration;

use tree_sitter::{ParseOptions, ParseState, Parser, Tree};

use super::syntax::Syntax;

/// What the parser is given at once, so that it can be seen how often it reads the same again.
const READ_BYTES: usize = 4096;

thread_local! {
    /// Parsers keep buffers, not memories: a tree depends on the text alone.
    static PARSER: RefCell<Parser> = RefCell::new(Parser::new());
}

/// A parse took more processor time than any code does.
///
/// It fails the file: chunks must not depend on how fast a machine is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooSlow;

/// The syntax tree of a text, errors and all; `None` where it would take far more steps than code does.
pub(super) fn parse(syntax: Syntax, text: &str) -> Result<Option<Tree>, TooSlow> {
    parse_within(syntax, text, &thread_time)
}

/// Processor time that a parse may take: a hundred times what code takes. Recovery from errors is
/// quadratic in some grammars, in steps that look like any others. This is a net under hostile files;
/// everything else ends by the number of steps, so that the answer is always the same.
fn most_time(text: &str) -> Duration {
    Duration::from_millis(250 + text.len() as u64 / 500)
}

fn parse_within(syntax: Syntax, text: &str, time: &dyn Fn() -> Duration) -> Result<Option<Tree>, TooSlow> {
    // Real files: a call of the progress callback for 50 to 220 bytes, for 28 in the densest tables;
    // and each byte read up to nine times. Broken code takes far more of either: recovery tries
    // many ways, and an unclosed comment or string is sought to the end of the file from each.
    let calls = Cell::new(200 + text.len() / 25);
    let reads = Cell::new(64 + 32 * text.len() / READ_BYTES);
    let end = time().saturating_add(most_time(text));
    let slow = Cell::new(false);
    let take = |left: &Cell<usize>| left.replace(left.get().saturating_sub(1)) > 0;
    let mut bounded = |_: &ParseState| {
        slow.set(time() > end);
        let goes_on = take(&calls) && reads.get() > 0 && !slow.get();
        if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let bytes = text.as_bytes();
    let mut read = |at: usize, _| {
        let end = if take(&reads) { bytes.len().min(at.saturating_add(READ_BYTES)) } else { 0 };
        bytes.get(at..end).unwrap_or_default()
    };
    let tree = PARSER.with_borrow_mut(|parser| {
        // A grammar made for another version of the library is refused: then there is no syntax.
        parser.set_language(&syntax.grammar()).ok()?;
        let options = ParseOptions::new().progress_callback(&mut bounded);
        let tree = parser.parse_with_options(&mut read, None, Some(options));
        // A parse that was broken off would be taken up again.
        parser.reset();
        // With nothing left to read, the tree may be that of half a text.
        tree.filter(|_| reads.get() > 0)
    });
    if slow.get() { Err(TooSlow) } else { Ok(tree) }
}

/// Processor time of this thread: other programs, and a machine that sleeps, do not count.
#[cfg(unix)]
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Where a thread's processor time cannot be had, the steps are the only bound.
#[cfg(not(unix))]
fn thread_time() -> Duration {
    Duration::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parse_that_takes_too_long_is_given_up() {
        let text = "int f(void) { return 1; }\n".repeat(200);
        let slow = Cell::new(Duration::ZERO);
        let tick = |by: u64| slow.replace(slow.get() + Duration::from_millis(by));
        assert!(parse_within(Syntax::C, &text, &|| tick(0)).is_ok_and(|tree| tree.is_some()));
        assert_eq!(parse_within(Syntax::C, &text, &|| tick(100)).err(), Some(TooSlow));
        assert!(parse(Syntax::C, &text).is_ok_and(|tree| tree.is_some()), "the parser starts anew");
    }
}
