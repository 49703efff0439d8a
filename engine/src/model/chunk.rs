//! The output of a chunker.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// One piece of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// The chunk's text.
    pub body: Body,
    /// Heading path or signature. Prepended to the body for the embedding only.
    pub context: Option<String>,
    /// What the chunk is: `function`, `section`, `table`, …
    pub kind: Option<String>,
    /// The name of the symbol or section.
    pub name: Option<String>,
    /// Attributes from a component; stored as `attr_…`.
    pub attrs: Attrs,
}

impl Chunk {
    /// A slice of the document (byte range) without further attributes.
    pub fn slice(range: Range<usize>) -> Self {
        Self { body: Body::Slice(range), context: None, kind: None, name: None, attrs: Vec::new() }
    }
}

/// A chunk's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A byte range of the cleaned text, not empty, on character boundaries.
    Slice(Range<usize>),
    /// Text that is not in the file: a component generated it.
    Generated(String),
    /// The same, and the passage of the file from which it was made.
    Derived(Box<Derived>),
}

/// A generated text and its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derived {
    /// The text.
    pub text: String,
    /// A byte range of the cleaned text, not empty, on character boundaries.
    pub origin: Range<usize>,
}

/// Named attributes, in the order in which they were set.
pub type Attrs = Vec<(String, AttrValue)>;

/// A value that the metadata of every vector store supports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AttrValue {
    /// Text.
    Text(String),
    /// A number.
    Number(f64),
    /// A boolean.
    Flag(bool),
    /// A list of texts.
    Texts(Vec<String>),
}
