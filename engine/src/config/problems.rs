//! All problems of a file, rendered with their snippets.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::raw::DEFAULT_STATE;
use super::{Api, Config, StatePlace};
use crate::settings::{Problem, mask};

/// The parts of a refused file that are needed to find the daemon that serves it.
#[derive(Debug, Clone, PartialEq)]
pub struct Salvaged {
    /// Where the state is.
    pub state: StatePlace,
    /// `[api]`, as far as it could be read.
    pub api: Option<Api>,
}

/// All problems of a file, sorted by position.
#[derive(Debug, Clone, PartialEq)]
pub struct Problems {
    file: PathBuf,
    /// The text with secrets masked; positions are the same as in the original.
    source: String,
    list: Vec<Problem>,
    salvaged: Option<Box<Salvaged>>,
}

impl Problems {
    /// Sorts the problems by position, removes duplicates and masks the text.
    pub(super) fn new(file: &Path, source: &str, mut list: Vec<Problem>) -> Self {
        let masked = mask(source);
        for problem in &mut list {
            problem.message = printable(&problem.message);
            problem.path = printable(&problem.path);
            problem.hint = problem.hint.as_deref().map(printable);
            if let Some(span) = problem.span.take() {
                let span = first_line(source, span);
                let before = &source[..span.start];
                let line_start = before.rfind('\n').map_or(0, |at| at + 1);
                problem.line = Some(line_of(source.as_bytes(), span.start));
                problem.column = Some(before[line_start..].chars().count() + 1);
                let line = masked.get(line_start..).and_then(|rest| rest.lines().next());
                problem.snippet = line.map(|line| printable(line.trim_end()));
                problem.span = Some(span);
            }
        }
        list.sort_by_key(|problem| problem.span.as_ref().map(|span| (span.start, span.end)));
        list.dedup();
        Self { file: file.to_owned(), source: masked, list, salvaged: None }
    }

    /// Attaches what could be read of the file.
    #[must_use]
    pub(super) fn salvaging(self, config: Option<Config>) -> Self {
        let salvaged =
            config.map(|config| Box::new(Salvaged { state: config.engine.state, api: Some(config.api) }));
        Self { salvaged, ..self }
    }

    /// What could be read of the file, or the defaults.
    pub fn salvaged(&self) -> Salvaged {
        self.salvaged.as_deref().cloned().unwrap_or_else(|| {
            let folder = self.file.parent().unwrap_or(Path::new("."));
            Salvaged { state: StatePlace::File(folder.join(DEFAULT_STATE)), api: None }
        })
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The problems by position; never empty.
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// The first problem in one line and the number of further ones, for logs and health responses.
    pub fn one_line(&self) -> String {
        let file = self.file.display();
        let Some(first) = self.list.first() else { return format!("{file}: no problem") };
        let place = first.line.map_or_else(String::new, |line| format!(":{line}"));
        let more = match self.list.len() - 1 {
            0 => String::new(),
            1 => " (and 1 more problem)".into(),
            n => format!(" (and {n} more problems)"),
        };
        format!("{file}{place}: {}{more}", first.one_line())
    }

    /// Renders all problems for a terminal of this width, each with its snippet, followed by their
    /// number.
    pub fn render(&self, color: bool, width: usize) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.term_width(width);
        let file = printable(&self.file.display().to_string());
        let mut out = String::new();
        for problem in &self.list {
            let title = problem.one_line();
            let mut group = annotate_snippets::Group::with_title(Level::ERROR.primary_title(&title));
            if let Some(span) = &problem.span {
                let annotation = AnnotationKind::Primary.span(span.clone());
                group = group.element(Snippet::source(&*self.source).path(&file).annotation(annotation));
            }
            if let Some(hint) = &problem.hint {
                group = group.element(Level::HELP.with_name("hint").message(hint));
            }
            out.push_str(&renderer.render(&[group]));
            out.push_str("\n\n");
        }
        let count = match self.list.len() {
            1 => "1 problem".into(),
            n => format!("{n} problems"),
        };
        out + &format!("{count} in {file}\n")
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(false, 100).trim_end())
    }
}

impl std::error::Error for Problems {}

/// The line, from 1, of a byte offset.
pub(super) fn line_of(text: &[u8], at: usize) -> usize {
    memchr::memchr_iter(b'\n', &text[..at]).count() + 1
}

/// Clips a range to its first line and to character boundaries.
fn first_line(source: &str, span: Range<usize>) -> Range<usize> {
    let start = floor(source, span.start);
    let rest = &source[start..];
    let line_end = start + rest.find(['\n', '\r']).unwrap_or(rest.len());
    start..floor(source, span.end).clamp(start, line_end)
}

fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// Escapes control characters, since names come from the file and are written to a terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\n' { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}
