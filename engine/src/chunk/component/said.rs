//! What a component said while it worked: log lines, passed on and kept for the message of a trap.

use super::bindings::reposync::chunker::log::Level;
use super::limits::MAX_LOG;

/// The log lines of one document, up to a bound.
#[derive(Debug)]
pub(super) struct Said {
    component: Box<str>,
    lines: String,
    left_out: usize,
}

impl Said {
    /// Lines are logged under this name.
    pub(super) fn new(component: &str) -> Self {
        Self { component: component.into(), lines: String::new(), left_out: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.lines.clear();
        self.left_out = 0;
    }

    pub(super) fn line(&mut self, level: Level, message: &str) {
        if self.lines.len() + message.len() > MAX_LOG {
            self.left_out += 1;
            if self.left_out == 1 {
                tracing::warn!(
                    component = &*self.component,
                    "a component's log is cut off at 64 KiB a document"
                );
            }
            return;
        }
        let message = printable(message);
        let component = &*self.component;
        match level {
            Level::Trace => tracing::trace!(component, message, "component"),
            Level::Debug => tracing::debug!(component, message, "component"),
            Level::Info => tracing::info!(component, message, "component"),
            Level::Warn => tracing::warn!(component, message, "component"),
            Level::Error => tracing::error!(component, message, "component"),
        }
        self.lines.push_str(&message);
        self.lines.push('\n');
    }

    /// The lines, and how many were left out.
    pub(super) fn lines(&self) -> (&str, usize) {
        (&self.lines, self.left_out)
    }
}

/// A text of the component's for people's eyes: nothing in it steers a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// [`printable`], in one line of a bounded length.
pub(super) fn one_line(text: &str) -> String {
    const MAX_CHARS: usize = 300;
    let mut line: String =
        text.trim().chars().take(MAX_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.trim().chars().nth(MAX_CHARS).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_off_and_counted() {
        let mut said = Said::new("x 1.0.0");
        for _ in 0..100 {
            said.line(Level::Trace, &"x".repeat(1000));
        }
        let (lines, left_out) = said.lines();
        assert!(lines.len() <= MAX_LOG);
        assert!(left_out > 30, "{left_out}");
    }

    #[test]
    fn nothing_steers_a_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\n");
        assert_eq!(one_line(" a\nb\u{7} "), "a b ");
    }
}
