//! Extracts uncaught exceptions and panics from a component's output before a trap: Python
//! tracebacks, QuickJS exceptions, and Rust panics. Supports the formats of componentize-py 0.25,
//! componentize-qjs 0.4 and Rust's standard library.

/// An uncaught exception or a panic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Uncaught {
    /// `it raised an exception` or `it panicked`.
    verb: &'static str,
    /// Location in the author's sources, as `FILE:LINE` or `FILE:LINE:COLUMN`.
    place: Option<String>,
    function: Option<String>,
    message: String,
}

impl Uncaught {
    /// Finds the last exception or panic in standard error or the log.
    pub(super) fn find(written: &str) -> Option<Self> {
        // Python and QuickJS print the exception first and then panic.
        python(written).or_else(|| panic(written))
    }

    /// What happened and where, in one line.
    pub(super) fn line(&self) -> String {
        let mut line = self.verb.to_owned();
        if let Some(place) = &self.place {
            line.push_str(&format!(" at `{place}`"));
        }
        if let Some(function) = &self.function {
            line.push_str(&format!(" in `{function}`"));
        }
        format!("{line}: {}", self.message)
    }
}

const RAISED: &str = "it raised an exception";

/// The last traceback: frames are indented, and the first line that is not is the exception.
fn python(written: &str) -> Option<Uncaught> {
    const START: &str = "Traceback (most recent call last):\n";
    let traceback = &written[written.rfind(START)? + START.len()..];
    let frames: Vec<_> =
        traceback.lines().take_while(|line| line.starts_with("  ")).filter_map(frame).collect();
    let message = traceback.lines().find(|line| !line.starts_with("  "))?;
    // The project's own folder is mounted as `/0`. Prefer its frames over those of libraries.
    let frame = frames.iter().rfind(|frame| frame.file.starts_with("/0/")).or(frames.last());
    Some(Uncaught {
        verb: RAISED,
        place: frame.map(|frame| format!("{}:{}", unmounted(frame.file), frame.line)),
        function: frame.map(|frame| frame.function.to_owned()).filter(|function| !function.starts_with('<')),
        message: message.to_owned(),
    })
}

struct Frame<'a> {
    file: &'a str,
    line: &'a str,
    function: &'a str,
}

/// `  File "/0/chunker.py", line 97, in helper`
fn frame(line: &str) -> Option<Frame<'_>> {
    let (file, rest) = line.trim_start().strip_prefix("File \"")?.split_once("\", line ")?;
    let (line, function) = rest.split_once(", in ")?;
    Some(Frame { file, line, function })
}

/// Strips the folder into which componentize-py mounts the project.
fn unmounted(file: &str) -> &str {
    let path = file.trim_start_matches('/');
    match path.split_once('/') {
        Some((mount, path)) if mount.bytes().all(|byte| byte.is_ascii_digit()) => path,
        _ => path,
    }
}

/// Parses `panicked at src/lib.rs:12:5:` and the message, on the same line or below.
fn panic(written: &str) -> Option<Uncaught> {
    const START: &str = "panicked at ";
    let panic = &written[written.rfind(START)? + START.len()..];
    let end =
        panic.match_indices(':').map(|(at, _)| at).find(|at| panic[at + 1..].starts_with([' ', '\n']))?;
    let (place, message) = (&panic[..end], panic[end + 1..].trim_start());
    if !place.ends_with(|c: char| c.is_ascii_digit()) || place.contains(char::is_control) {
        return None;
    }
    if let Some(exception) = quickjs(message) {
        return Some(exception);
    }
    // The QuickJS engine's message when a thrown value is none of the contract's errors.
    if message.starts_with("invalid variant: Error(FromJs") {
        return Some(Uncaught {
            verb: RAISED,
            place: None,
            function: None,
            message: "what it threw is neither an `Error` nor a `chunk-error` of the contract".to_owned(),
        });
    }
    Some(Uncaught {
        verb: "it panicked",
        place: Some(place.to_owned()),
        function: None,
        // `assert_eq!` needs three lines to show both values.
        message: message.lines().take_while(|line| !is_advice(line)).take(3).collect::<Vec<_>>().join(" "),
    })
}

/// True for lines that the standard library prints after a panic's message.
fn is_advice(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with("stack backtrace:") || line.starts_with("note: ")
}

/// Parses an exception in QuickJS, as shown in the engine's panic.
fn quickjs(message: &str) -> Option<Uncaught> {
    let exception = message.starts_with("Failed to call").then_some(message)?;
    let text = |field: &str| {
        let start = exception.find(&format!("{field}: Some(\""))? + field.len() + ": Some(\"".len();
        Some(unescaped(&exception[start..]))
    };
    let said = text("message")?;
    let stack = text("stack").unwrap_or_default();
    let frames: Vec<_> = stack.lines().filter_map(stack_frame).collect();
    // Prefer frames of the author's code over those of libraries.
    let frame = frames.iter().find(|(_, place)| !place.contains("node_modules/")).or(frames.first());
    Some(Uncaught {
        verb: RAISED,
        place: frame.map(|(_, place)| place.trim_start_matches('/').to_owned()),
        function: frame
            .map(|(function, _)| (*function).to_owned())
            .filter(|function| !function.starts_with('<')),
        message: match said.lines().next() {
            Some(line) if !line.is_empty() => line.to_owned(),
            _ => "an `Error` without a message".to_owned(),
        },
    })
}

/// Parses `    at helper (/chunker.js:94:10)`: function and location.
fn stack_frame(line: &str) -> Option<(&str, &str)> {
    line.trim().strip_prefix("at ")?.strip_suffix(')')?.split_once(" (")
}

/// Unescapes a string written with Rust's `{:?}`, up to its closing quote.
fn unescaped(debug: &str) -> String {
    let mut text = String::new();
    let mut rest = debug.chars();
    while let Some(c) = rest.next() {
        match c {
            '"' => break,
            '\\' => match rest.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('r') => text.push('\r'),
                Some('0') => text.push('\0'),
                Some('u') => {
                    let digits: String = rest.by_ref().skip(1).take_while(|c| *c != '}').collect();
                    text.extend(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32));
                }
                Some(other) => text.push(other),
                None => {}
            },
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(written: &str) -> String {
        Uncaught::find(written).expect("found").line()
    }

    // Output of components that `plugin build` made with the tools named above.

    const PYTHON: &str = r#"Traceback (most recent call last):
  File "/0/chunker.py", line 53, in split
  File "/0/chunker.py", line 97, in helper
KeyError: 'missing'

thread '<unnamed>' (1) panicked at runtime/src/lib.rs:1293:29:
Python function threw an unexpected exception
stack backtrace:
note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.
"#;

    const JAVASCRIPT: &str = r#"
thread '<unnamed>' (1) panicked at crates/runtime/src/interpreter.rs:51:31:
Failed to call 'split': Value(Exception(
Exception { message: Some("cannot read property 'length' of \"ü\n\""), stack: Some("    at helper (/lib.js:2:10)\n    at split (/chunker.js:43:74)\n") })
)
stack backtrace:
note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.
"#;

    #[test]
    fn a_traceback_of_python() {
        insta::assert_snapshot!(line(PYTHON), @"it raised an exception at `chunker.py:97` in `helper`: KeyError: 'missing'");
    }

    #[test]
    fn of_chained_exceptions_the_last_counts() {
        let chained = format!(
            "Traceback (most recent call last):\n  File \"/0/a.py\", line 1, in f\nTypeError: first\n\n\
             During handling of the above exception, another exception occurred:\n\n{PYTHON}"
        );
        assert_eq!(line(&chained), line(PYTHON));
    }

    #[test]
    fn the_authors_own_frame_is_named_before_a_librarys() {
        let inside = PYTHON
            .replace("\nKeyError", "\n  File \"/python/json/decoder.py\", line 355, in raw_decode\nKeyError");
        assert_eq!(line(&inside), line(PYTHON));
        let inside = JAVASCRIPT.replace("/lib.js", "/node_modules/tiny/index.js");
        insta::assert_snapshot!(line(&inside), @r#"it raised an exception at `chunker.js:43:74` in `split`: cannot read property 'length' of "ü"#);
    }

    #[test]
    fn an_exception_of_javascript() {
        insta::assert_snapshot!(line(JAVASCRIPT), @r#"it raised an exception at `lib.js:2:10` in `helper`: cannot read property 'length' of "ü"#);
    }

    #[test]
    fn a_thrown_value_that_is_no_error() {
        let written = "thread '<unnamed>' (1) panicked at crates/runtime/src/call.rs:283:18:\n\
                       invalid variant: Error(FromJs { from: \"string\", to: \"variant\", message: None })\n";
        insta::assert_snapshot!(line(written), @"it raised an exception: what it threw is neither an `Error` nor a `chunk-error` of the contract");
    }

    #[test]
    fn a_panic_of_rust() {
        let message = "index out of bounds: the len is 3 but the index is 7";
        // The plugin SDK logs it in one line; the standard library writes two lines and advice.
        let logged = format!("panicked at src/lib.rs:12:5: {message}\n");
        let written = format!(
            "\nthread 'main' (1) panicked at src/lib.rs:12:5:\n{message}\n\
             note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n"
        );
        for text in [logged, written] {
            assert_eq!(line(&text), format!("it panicked at `src/lib.rs:12:5`: {message}"));
        }
        let compared = "panicked at src/lib.rs:1:1: assertion `left == right` failed\n  left: 1\n right: 2\n";
        insta::assert_snapshot!(line(compared), @"it panicked at `src/lib.rs:1:1`: assertion `left == right` failed   left: 1  right: 2");
    }

    #[test]
    fn other_words_are_no_exception() {
        for written in [
            "",
            "panicked at ",
            "panicked at noon: tea\n",
            "Traceback (most recent call last):\n  File \"",
            "half a line",
        ] {
            assert_eq!(Uncaught::find(written), None, "{written}");
        }
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescaped(r#"a\n\t\\\"\'\u{1f680}\u{zz}b" rest"#), "a\n\t\\\"'🚀b");
        assert_eq!(unescaped("open\\"), "open");
    }
}
