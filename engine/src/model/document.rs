//! A file's text on its way to the chunkers.

use std::ops::Range;

/// Text after cleaning, with a map of its lines to those of the original file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleaned {
    /// The cleaned text. Ranges of chunks are byte ranges into it.
    pub text: String,
    /// Maps its lines to lines of the original file.
    pub lines: LineMap,
}

/// Maps lines of the cleaned text to lines of the original file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineMap {
    /// Lines are the same in both.
    Identity,
    /// `lines[n]` is the original line (1-based) of line n (0-based) of the cleaned text. Cleaning
    /// drops repeated empty lines.
    Folded(Vec<u32>),
}

impl LineMap {
    /// The original line, 1-based, of a 0-based line of the cleaned text.
    pub fn original(&self, line: usize) -> u32 {
        match self {
            Self::Identity => u32::try_from(line + 1).unwrap_or(u32::MAX),
            Self::Folded(lines) => lines.get(line).or(lines.last()).copied().unwrap_or(1),
        }
    }
}

/// The input of a chunker.
#[derive(Debug, Clone, Copy, Default)]
pub struct Document<'a> {
    /// The path from the repository's root.
    pub path: &'a str,
    /// The cleaned text.
    pub text: &'a str,
    /// The language by file name, in lower case (`rust`, `markdown`); `None` if unknown.
    pub language: Option<&'a str>,
    /// The name of the repository; `None` outside of one.
    pub repository: Option<&'a str>,
}

impl Document<'_> {
    /// True if the range is not empty, lies in the text and is on character boundaries.
    pub fn holds(&self, range: &Range<usize>) -> bool {
        range.start < range.end
            && self.text.is_char_boundary(range.start)
            && self.text.is_char_boundary(range.end)
            && range.end <= self.text.len()
    }
}
