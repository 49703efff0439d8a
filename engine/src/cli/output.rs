//! Standard output and standard error: colours, widths, escaping. Independent of what is printed.

use std::borrow::Cow;
use std::io::{self, ErrorKind, IsTerminal, Write};

use console::Style as Paint;

use crate::model::Outcome;

/// Width in columns if neither the terminal nor `COLUMNS` gives one.
const DEFAULT_WIDTH: usize = 100;

/// How text is formatted. Passed to renderers, which do no I/O.
#[derive(Debug, Clone)]
pub(crate) struct Style {
    /// Maximum width in columns. Paths are never truncated.
    pub(crate) width: usize,
    /// 0: the default; 1 and more: long lists in full, and examples of skipped files.
    pub(crate) verbose: u8,
    color: bool,
}

impl Style {
    /// No colour, this width.
    #[cfg(test)]
    pub(crate) fn plain(width: usize) -> Self {
        Self { width, verbose: 0, color: false }
    }

    /// Sets how verbose the text is.
    #[must_use]
    pub(crate) fn verbose(mut self, verbose: u8) -> Self {
        self.verbose = verbose;
        self
    }

    fn detect(terminal: bool, columns: Option<u16>, color: Color) -> Self {
        let from_env = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let width = from_env.or(columns.map(usize::from)).unwrap_or(DEFAULT_WIDTH).clamp(40, 200);
        let env = |name: &str| std::env::var(name).ok();
        Self { width, verbose: 0, color: color.is_wanted(terminal, &env) }
    }

    /// True if output is coloured.
    pub(crate) fn color(&self) -> bool {
        self.color
    }

    /// For success and additions.
    pub(crate) fn good(&self, text: &str) -> String {
        self.paint(Paint::new().green(), text)
    }

    /// For warnings and changes.
    pub(crate) fn warning(&self, text: &str) -> String {
        self.paint(Paint::new().yellow(), text)
    }

    /// For failures and removals.
    pub(crate) fn bad(&self, text: &str) -> String {
        self.paint(Paint::new().red().bold(), text)
    }

    /// In the colour of an outcome.
    pub(crate) fn outcome(&self, outcome: Outcome, text: &str) -> String {
        match outcome {
            Outcome::Done => self.good(text),
            Outcome::Partial | Outcome::Interrupted => self.warning(text),
            Outcome::Failed => self.bad(text),
        }
    }

    /// For hints and moves.
    pub(crate) fn advice(&self, text: &str) -> String {
        self.paint(Paint::new().cyan(), text)
    }

    /// For headings.
    pub(crate) fn strong(&self, text: &str) -> String {
        self.paint(Paint::new().bold(), text)
    }

    /// For less important text.
    pub(crate) fn dim(&self, text: &str) -> String {
        self.paint(Paint::new().dim(), text)
    }

    fn paint(&self, paint: Paint, text: &str) -> String {
        paint.force_styling(self.color).apply_to(text).to_string()
    }
}

/// When output is coloured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Color {
    // On a terminal, unless the environment says otherwise. (Not a doc comment: it would become the
    // value's help, and every help page would switch to the long form.)
    #[default]
    Auto,
    Always,
    Never,
}

impl Color {
    /// True if a stream is coloured. `NO_COLOR` takes precedence over `CLICOLOR_FORCE`, since it is
    /// an opt-out.
    fn is_wanted(self, terminal: bool, env: &dyn Fn(&str) -> Option<String>) -> bool {
        let set = |name: &str| env(name).is_some_and(|value| !value.is_empty());
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto if set("NO_COLOR") => false,
            Self::Auto if set("CLICOLOR_FORCE") && env("CLICOLOR_FORCE").as_deref() != Some("0") => true,
            Self::Auto => {
                terminal && env("CLICOLOR").as_deref() != Some("0") && env("TERM").as_deref() != Some("dumb")
            }
        }
    }

    /// The same for help and usage errors, which are printed before the command line is parsed.
    pub(crate) fn of_args(args: &[std::ffi::OsString]) -> clap::ColorChoice {
        let mut args = args.iter().skip(1).map(|arg| arg.to_string_lossy()).take_while(|arg| arg != "--");
        let mut choice = clap::ColorChoice::Auto;
        while let Some(arg) = args.next() {
            let value = match arg.strip_prefix("--color") {
                Some("") => args.next().map(Cow::into_owned),
                Some(rest) => rest.strip_prefix('=').map(str::to_owned),
                None => continue,
            };
            choice = match value.as_deref() {
                Some("always") => clap::ColorChoice::Always,
                Some("never") => clap::ColorChoice::Never,
                _ => choice,
            };
        }
        choice
    }
}

/// Standard output and standard error of this process.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    /// The style of standard output.
    pub(crate) style: Style,
    /// The style of standard error.
    pub(crate) error_style: Style,
    /// True if a live view can be drawn.
    pub(crate) interactive: bool,
}

impl Output {
    /// Detects the capabilities of this process's streams.
    pub(crate) fn detect(verbose: u8, color: Color) -> Self {
        let stdout = Style::detect(io::stdout().is_terminal(), width(&console::Term::stdout()), color);
        let stderr = Style::detect(io::stderr().is_terminal(), width(&console::Term::stderr()), color);
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            style: stdout.verbose(verbose),
            error_style: stderr.verbose(verbose),
            interactive: io::stderr().is_terminal() && !dumb,
        }
    }

    /// Prints data. A closed pipe (`reposync … | head`) is not an error.
    #[expect(clippy::unused_self, reason = "printing requires an `Output`")]
    pub(crate) fn data(&self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        ignore_broken_pipe(written)
    }

    /// Prints data for a reader who may leave. False: the reader has closed the pipe.
    #[expect(clippy::unused_self, reason = "printing requires an `Output`")]
    pub(crate) fn data_while_open(&self, text: &str) -> io::Result<bool> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Prints a value as JSON.
    pub(crate) fn json(&self, value: &impl serde::Serialize) -> anyhow::Result<()> {
        let mut text = to_json(value)?;
        text.push('\n');
        Ok(self.data(&text)?)
    }

    /// Prints a message to standard error. Write errors are ignored, since there is nowhere to
    /// report them.
    #[expect(clippy::unused_self, reason = "printing requires an `Output`")]
    pub(crate) fn message(&self, text: &str) {
        let mut stderr = io::stderr().lock();
        drop(stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()));
    }
}

fn width(term: &console::Term) -> Option<u16> {
    term.size_checked().map(|(_, columns)| columns)
}

fn ignore_broken_pipe(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// A value as indented JSON, with characters escaped that could control a terminal.
pub(crate) fn to_json(value: &impl serde::Serialize) -> serde_json::Result<String> {
    let text = serde_json::to_string_pretty(value)?;
    if !text.chars().any(|c| c != '\n' && is_unsafe(c)) {
        return Ok(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        // Outside of strings, JSON consists of printable ASCII and line breaks, so the value does
        // not change.
        if c != '\n' && is_unsafe(c) {
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            escaped.push(c);
        }
    }
    Ok(escaped)
}

/// Makes external text (paths, names, responses, contents) safe to print on one line: characters
/// that control a terminal or reorder text are shown as `\u{1b}` and the like.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) {
            escaped.extend(c.escape_default());
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// Control characters (C0, DEL, C1), line separators and marks of writing direction, all in the
/// basic multilingual plane.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{061c}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_control_characters_are_escaped() {
        for (text, expected) in [
            ("docs/plain – naïve 文.md", "docs/plain – naïve 文.md"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
            ("a\nb\tc\r", "a\\nb\\tc\\r"),
            ("\u{9b}31m\u{7f}\0", "\\u{9b}31m\\u{7f}\\u{0}"),
            ("gpj.\u{202e}exe", "gpj.\\u{202e}exe"),
        ] {
            assert_eq!(escape(text), expected);
        }
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = serde_json::json!({ "path": "a\u{9b}b\u{202e}\n\u{7f}\u{1b}", "n": [1, 2] });
        let text = to_json(&value).expect("serialisable");
        assert!(text.chars().all(|c| c == '\n' || !is_unsafe(c)), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("valid"), value);
    }

    #[test]
    fn a_closed_pipe_is_no_error_and_a_full_disk_is() {
        assert!(ignore_broken_pipe(Err(io::Error::from(ErrorKind::BrokenPipe))).is_ok());
        assert!(ignore_broken_pipe(Err(io::Error::from(ErrorKind::StorageFull))).is_err());
    }

    #[test]
    fn the_option_wins_over_the_environment_and_an_opt_out_over_force() {
        for (color, terminal, set, wanted) in [
            (Color::Auto, true, &[][..], true),
            (Color::Auto, false, &[], false),
            (Color::Auto, true, &[("TERM", "dumb")], false),
            (Color::Auto, true, &[("CLICOLOR", "0")], false),
            (Color::Auto, true, &[("NO_COLOR", "1")], false),
            (Color::Auto, true, &[("NO_COLOR", "")], true),
            (Color::Auto, false, &[("CLICOLOR_FORCE", "1")], true),
            (Color::Auto, false, &[("CLICOLOR_FORCE", "0")], false),
            (Color::Auto, true, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
            (Color::Always, false, &[("NO_COLOR", "1"), ("TERM", "dumb")], true),
            (Color::Never, true, &[("CLICOLOR_FORCE", "1")], false),
        ] {
            let env = |name: &str| {
                set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(color.is_wanted(terminal, &env), wanted, "{color:?} {terminal} {set:?}");
        }
    }

    #[test]
    fn the_colour_of_usage_errors_is_found_in_any_command_line() {
        for (args, choice) in [
            (&["reposync", "plan"][..], clap::ColorChoice::Auto),
            (&["reposync", "--color", "never", "plna"], clap::ColorChoice::Never),
            (&["reposync", "plan", "--color=always", "--nonsense"], clap::ColorChoice::Always),
            (&["reposync", "query", "--", "--color=always"], clap::ColorChoice::Auto),
        ] {
            let args: Vec<std::ffi::OsString> = args.iter().map(Into::into).collect();
            assert_eq!(Color::of_args(&args), choice, "{args:?}");
        }
    }

    #[test]
    fn colour_is_only_there_where_it_is_wanted() {
        let mut style = Style::plain(80);
        assert_eq!(style.bad("x"), "x");
        style.color = true;
        assert_eq!(style.bad("x"), "\u{1b}[31m\u{1b}[1mx\u{1b}[0m");
    }
}
