//! A problem of the file, with key, position and hint.

use std::ops::Range;

use serde::Serialize;

/// A problem of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// The key it concerns, such as `stages.prose.chunk_overlap`; empty for the file as a whole.
    pub path: String,
    /// The line, from 1; `None` if the problem has no position in the file.
    pub line: Option<usize>,
    /// The column in characters, from 1.
    pub column: Option<usize>,
    /// What is wrong, as a fragment that fits after the key.
    pub message: String,
    /// What the user can do.
    pub hint: Option<String>,
    /// Its byte range in the file.
    #[serde(skip)]
    pub(crate) span: Option<Range<usize>>,
    /// The text of its line, with secrets masked.
    #[serde(skip)]
    pub snippet: Option<String>,
}

impl Problem {
    /// A problem at a byte range of the file.
    pub(crate) fn at(path: impl Into<String>, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span: Some(span), ..Self::new(path, message) }
    }

    /// A problem without a position.
    pub(crate) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            line: None,
            column: None,
            message: message.into(),
            hint: None,
            span: None,
            snippet: None,
        }
    }

    /// Sets the hint.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Key and message in one line.
    pub fn one_line(&self) -> String {
        if self.path.is_empty() { self.message.clone() } else { format!("`{}`: {}", self.path, self.message) }
    }
}
