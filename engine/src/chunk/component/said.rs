//! Captures a component's output for one document: log lines and what it printed. Used for trap
//! messages, for `plugin test`, and for the log at level `debug`.

use std::fmt;

use super::bindings::reposync::chunker::log::Level;
use super::limits::MAX_LOG;

/// Fixed cost of an entry in addition to its text, so that empty lines are bounded too.
const ENTRY_BYTES: usize = 32;

/// The log lines of one document, up to [`MAX_LOG`] bytes.
#[derive(Debug, Default)]
pub(super) struct Said {
    entries: Vec<SaidLine>,
    bytes: usize,
    left_out: usize,
}

/// One line of a component's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaidLine {
    /// Where the line came from.
    pub how: How,
    /// The line, without terminal control characters and bidirectional marks.
    pub text: String,
}

/// The origin of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// `log.write` at this level.
    Logged(&'static str),
    /// Standard output or standard error.
    Printed,
    /// Added by the host: lines beyond the limit were dropped.
    LeftOut,
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Logged(level) => level,
            Self::Printed => "printed",
            Self::LeftOut => "left out",
        })
    }
}

impl Said {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Adds a message; each of its lines becomes an entry.
    pub(super) fn log(&mut self, level: Level, message: &str) {
        let how = How::Logged(match level {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        });
        let message = printable(message);
        for line in message.trim_end_matches('\n').split('\n') {
            let bytes = line.len() + ENTRY_BYTES;
            if self.bytes + bytes > MAX_LOG {
                self.left_out += 1;
            } else {
                self.bytes += bytes;
                self.entries.push(SaidLine { how, text: line.to_owned() });
            }
        }
    }

    /// The log as text, for the details of a failure.
    pub(super) fn text(&self) -> String {
        let mut text: String = self.entries.iter().flat_map(|line| [line.text.as_str(), "\n"]).collect();
        if self.left_out > 0 {
            text.push_str(&format!("({} more lines were dropped)\n", self.left_out));
        }
        text
    }

    /// The log lines, followed by the lines of `output`, which must be [`printable`].
    pub(super) fn lines(&self, output: &str) -> Vec<SaidLine> {
        let mut lines = self.entries.clone();
        if self.left_out > 0 {
            let text = format!("{} more log lines; the log is limited to 64 KiB per document", self.left_out);
            lines.push(SaidLine { how: How::LeftOut, text });
        }
        lines.extend(output.lines().map(|line| SaidLine { how: How::Printed, text: line.to_owned() }));
        lines
    }
}

/// Writes lines to RepoSync's log, one event per line. Always at level `debug`, whatever level the
/// component used. The text is a quoted field, so that it cannot forge other fields or lines.
pub(super) fn trace(component: &str, path: Option<&str>, lines: impl FnOnce() -> Vec<SaidLine>) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    for SaidLine { how, text } in lines() {
        let how = how.to_string();
        tracing::debug!(component, path, said = how.as_str(), text = text.as_str(), "component");
    }
}

/// Replaces terminal control characters and bidirectional marks in a component's text.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if is_unprintable(c) && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// Like [`printable`], in one line of bounded length.
pub(super) fn one_line(text: &str) -> String {
    const MAX_CHARS: usize = 300;
    let shown = |c: char| match c {
        c if c.is_control() => ' ',
        c if is_unprintable(c) => '\u{fffd}',
        c => c,
    };
    let mut line: String = text.trim().chars().take(MAX_CHARS).map(shown).collect();
    if text.trim().chars().nth(MAX_CHARS).is_some() {
        line.push('…');
    }
    line
}

/// True for control characters, line separators, and bidirectional formatting characters.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{061c}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::filter::LevelFilter;

    use super::*;

    #[test]
    fn a_log_flood_is_truncated_and_counted() {
        for (message, least) in [("x".repeat(1000), 30), (String::new(), 90_000)] {
            let mut said = Said::default();
            for _ in 0..if message.is_empty() { 100_000 } else { 100 } {
                said.log(Level::Trace, &message);
            }
            assert!(said.text().len() <= MAX_LOG + 100);
            assert!(said.left_out > least, "{}", said.left_out);
            let last = said.lines("").pop().expect("lines");
            assert_eq!(last.how, How::LeftOut);
            assert!(last.text.starts_with(&said.left_out.to_string()), "{}", last.text);
        }
    }

    #[test]
    fn terminal_control_characters_are_replaced() {
        assert_eq!(printable("a\u{1b}[2Jb\n\u{202e}c"), "a\u{fffd}[2Jb\n\u{fffd}c");
        assert_eq!(one_line(" a\nb\u{7} \u{2066}c\u{2028}d"), "a b  \u{fffd}c\u{fffd}d");
    }

    #[test]
    fn each_line_is_a_separate_entry() {
        let mut said = Said::default();
        said.log(Level::Warn, "one\ntwo\n");
        said.log(Level::Info, "");
        let lines: Vec<_> =
            said.lines("three\n").into_iter().map(|line| format!("{}: {}", line.how, line.text)).collect();
        assert_eq!(lines, ["warn: one", "warn: two", "info: ", "printed: three"]);
        assert_eq!(said.text(), "one\ntwo\n\n");
    }

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Buffer {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("no panic").clone()).expect("UTF-8")
        }
    }

    /// The log output for a message that tries to forge other lines and fields.
    fn logged(json: bool) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let builder = tracing_subscriber::fmt()
            .with_max_level(LevelFilter::DEBUG)
            .with_writer(move || writer.clone())
            .without_time()
            .with_target(false)
            .with_ansi(false);
        let lines = || {
            let mut said = Said::default();
            said.log(Level::Info, "fine\nERROR forged said=\"x\" \u{202e}\u{1b}[2J\r\u{2028}");
            said.lines("")
        };
        let say = || trace("x 1.0.0", Some("docs/a.md"), lines);
        if json {
            tracing::subscriber::with_default(builder.json().finish(), say);
        } else {
            tracing::subscriber::with_default(builder.finish(), say);
        }
        buffer.text()
    }

    #[test]
    fn a_component_cannot_forge_a_log_line() {
        insta::assert_snapshot!(logged(false), @r#"
        DEBUG component component="x 1.0.0" path="docs/a.md" said="info" text="fine"
        DEBUG component component="x 1.0.0" path="docs/a.md" said="info" text="ERROR forged said=\"x\" ��[2J��"
        "#);
    }

    #[test]
    fn json_logs_have_one_event_a_line_and_each_key_once() {
        let text = logged(true);
        assert_eq!(text.lines().count(), 2);
        for line in text.lines() {
            let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(event["fields"]["message"], "component");
            assert_eq!(line.matches("\"message\"").count(), 1, "{line}");
            assert!(!line.chars().any(is_unprintable), "{line}");
        }
    }
}
