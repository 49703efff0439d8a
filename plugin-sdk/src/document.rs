//! The input and output types of a chunker.

use std::borrow::Cow;
use std::ops::Range;

/// A document to split.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Document {
    /// Path relative to the root of the repository, with `/` as the separator.
    pub path: String,
    /// The cleaned text: no byte order mark, every line ends in a single line feed.
    pub text: String,
    /// Media type, such as `text/markdown`; `text/plain` if unknown.
    pub media_type: String,
    /// Language in lower case, such as `rust`; `None` if unknown.
    pub language: Option<String>,
    /// Additional metadata; ignore unknown names. `repository`: its name. `max-tokens`: the maximum number
    /// of tokens of an embedder's input, if known.
    pub attrs: Attrs,
}

impl Document {
    /// Creates a document without metadata, for tests.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into(), media_type: "text/plain".into(), ..Self::default() }
    }
}

/// Named values, in order. A name that is a string literal needs no allocation.
pub type Attrs = Vec<(Cow<'static, str>, AttrValue)>;

/// A value that the metadata of a vector store can hold.
#[derive(Debug, Clone, PartialEq)]
pub enum AttrValue {
    /// A text.
    Text(String),
    /// A number; it must be finite.
    Number(f64),
    /// True or false.
    Flag(bool),
    /// A list of texts.
    Texts(Vec<String>),
}

impl From<&str> for AttrValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for AttrValue {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<f64> for AttrValue {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<u32> for AttrValue {
    fn from(value: u32) -> Self {
        Self::Number(value.into())
    }
}

impl From<bool> for AttrValue {
    fn from(value: bool) -> Self {
        Self::Flag(value)
    }
}

impl From<Vec<String>> for AttrValue {
    fn from(value: Vec<String>) -> Self {
        Self::Texts(value)
    }
}

/// Where a chunk's text comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A byte range of the document's text, at character boundaries, not empty.
    Slice(Range<usize>),
    /// Text that is not part of the document; its lines are those of the passage that
    /// [`Chunk::derived`] names, else those of the whole document.
    Generated(String),
}

/// One passage to index.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// The text of the passage.
    pub content: Content,
    /// Heading path or signature, prepended to the passage for the embedding.
    pub context: Option<String>,
    /// Kind of passage, such as `function` or `section`.
    pub kind: Option<Cow<'static, str>>,
    /// Name of the symbol or section.
    pub name: Option<String>,
    /// Additional metadata, stored with the vector as `attr_NAME`.
    pub attrs: Attrs,
}

impl Chunk {
    /// Creates a chunk from a byte range of the document. Prefer it to [`Self::generated`]: it
    /// needs no copy, and the chunk keeps its line numbers.
    pub fn slice(range: Range<usize>) -> Self {
        Self::of(Content::Slice(range))
    }

    /// Creates a chunk from text that is not part of the document.
    pub fn generated(text: impl Into<String>) -> Self {
        Self::of(Content::Generated(text.into()))
    }

    fn of(content: Content) -> Self {
        Self { content, context: None, kind: None, name: None, attrs: Attrs::new() }
    }

    /// Creates a chunk from text that was made of this byte range of the document. Its lines, and the link
    /// to it, are those of the range.
    pub fn derived(text: impl Into<String>, origin: Range<usize>) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a document is smaller than 2^53 bytes")]
        let offset = |bytes: usize| bytes as f64;
        Self::generated(text).with_attr("@start", offset(origin.start)).with_attr("@end", offset(origin.end))
    }

    /// Sets the heading path or signature.
    #[must_use]
    pub fn with_context(mut self, context: impl Into<String>) -> Self {
        self.context = Some(context.into());
        self
    }

    /// Sets the kind of passage. A string literal is passed on without a copy.
    #[must_use]
    pub fn with_kind(mut self, kind: impl Into<Cow<'static, str>>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    /// Sets the name of the symbol or section.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with_attr(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<AttrValue>) -> Self {
        self.attrs.push((name.into(), value.into()));
        self
    }

    /// The text of the passage; `None` if the range is not valid for the document.
    pub fn text<'a>(&'a self, document: &'a Document) -> Option<&'a str> {
        match &self.content {
            Content::Slice(range) => document.text.get(range.clone()),
            Content::Generated(text) => Some(text),
        }
    }
}
