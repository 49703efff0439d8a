//! Messages for the author of a configuration or document.

use std::ops::Range;

/// Severity of a diagnostic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The configuration or document cannot be used.
    Error,
    /// It can be used, but is probably not what was intended.
    Warning,
    /// Additional information.
    Note,
}

/// A message with an optional location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Severity of the message.
    pub severity: Severity,
    /// A short, stable identifier of the problem, such as `unknown-key`.
    pub code: String,
    /// What is wrong and what to do, in one sentence.
    pub message: String,
    /// Location in the configuration, as a JSON pointer such as `/heading_level`.
    pub pointer: Option<String>,
    /// Location in the document, as a byte range of its text.
    pub at: Option<Range<usize>>,
}

impl Diagnostic {
    /// Creates an error: a problem that must be fixed.
    pub fn error(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message)
    }

    /// Creates a warning.
    pub fn warning(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message)
    }

    /// Creates a note.
    pub fn note(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, code, message)
    }

    fn new(severity: Severity, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity, code: code.into(), message: message.into(), pointer: None, at: None }
    }

    /// Sets the location in the configuration, as a JSON pointer. RepoSync shows the message with
    /// that line of `reposync.toml`.
    #[must_use]
    pub fn in_config(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(pointer.into());
        self
    }

    /// Sets the location in the document.
    #[must_use]
    pub fn in_document(mut self, range: Range<usize>) -> Self {
        self.at = Some(range);
        self
    }
}
