//! What a chunker gives back.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// One piece of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// Where its text stands, or the text itself.
    pub body: Body,
    /// Heading path or signature; goes in front of the body for the embedding alone.
    pub context: Option<String>,
    /// What it is: `function`, `section`, `table`, …
    pub kind: Option<String>,
    /// The symbol's or section's name.
    pub name: Option<String>,
    /// A component's own attributes; stored as `attr_…`.
    pub attrs: Attrs,
}

impl Chunk {
    /// A plain slice of the document (byte range), nothing more known about it.
    pub fn slice(range: Range<usize>) -> Self {
        Self { body: Body::Slice(range), context: None, kind: None, name: None, attrs: Vec::new() }
    }
}

/// A chunk's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A byte range of the cleaned text, on character borders, not empty.
    Slice(Range<usize>),
    /// Text that does not stand in the file (made by a component).
    Generated(String),
}

/// Named attributes, in the order given.
pub type Attrs = Vec<(String, AttrValue)>;

/// What a vector store's metadata can hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AttrValue {
    /// Text.
    Text(String),
    /// A number.
    Number(f64),
    /// Yes or no.
    Flag(bool),
    /// Several texts.
    Texts(Vec<String>),
}
