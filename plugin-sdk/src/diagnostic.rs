//! What a chunker tells the person who wrote the configuration or the document.

use std::ops::Range;

/// How much a diagnostic matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It cannot go on like this.
    Error,
    /// It works, but probably not as meant.
    Warning,
    /// Good to know.
    Note,
}

/// One message with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Severity,
    /// A short, stable name of the problem, such as `unknown-key`.
    pub code: String,
    /// What is wrong and what to do, in one sentence.
    pub message: String,
    /// The place in the configuration, as a JSON pointer such as `/heading_level`.
    pub pointer: Option<String>,
    /// The place in the document: a byte range of its text.
    pub at: Option<Range<usize>>,
}

impl Diagnostic {
    /// Something that must be mended.
    pub fn error(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message)
    }

    /// Something doubtful.
    pub fn warning(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message)
    }

    /// Something good to know.
    pub fn note(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, code, message)
    }

    fn new(severity: Severity, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity, code: code.into(), message: message.into(), pointer: None, at: None }
    }

    /// Points at a place in the configuration, by JSON pointer: the message is shown at that line
    /// of `reposync.toml`.
    #[must_use]
    pub fn in_config(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(pointer.into());
        self
    }

    /// Points at a place in the document.
    #[must_use]
    pub fn in_document(mut self, range: Range<usize>) -> Self {
        self.at = Some(range);
        self
    }
}
