//! What a chunker is given, and what it gives back.

use std::borrow::Cow;
use std::ops::Range;

/// A document to split.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Document {
    /// Path from the repository's root, with `/` between folders.
    pub path: String,
    /// The cleaned text: no byte order mark, every line ends in a single line feed.
    pub text: String,
    /// Media type as far as it is known, such as `text/markdown`; else `text/plain`.
    pub media_type: String,
    /// Language in lower case, such as `rust`, where it is known.
    pub language: Option<String>,
    /// More about the document; ignore names you do not know.
    pub attrs: Attrs,
}

impl Document {
    /// A plain document, as tests need it.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into(), media_type: "text/plain".into(), ..Self::default() }
    }
}

/// Named values, in the order given. A name that stands in the code costs no memory of its own.
pub type Attrs = Vec<(Cow<'static, str>, AttrValue)>;

/// A value that a vector store's metadata can hold.
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
    /// A byte range of the document's text, on character borders, not empty.
    Slice(Range<usize>),
    /// Text that does not stand in the document; it counts for the whole document.
    Generated(String),
}

/// One passage to index.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// The passage itself.
    pub content: Content,
    /// Heading path or signature, put in front of the passage when it is embedded.
    pub context: Option<String>,
    /// What the passage is, such as `function` or `section`.
    pub kind: Option<Cow<'static, str>>,
    /// Name of the symbol or section.
    pub name: Option<String>,
    /// Further metadata, stored with the vector under `attr_` and the name.
    pub attrs: Attrs,
}

impl Chunk {
    /// A passage of the document, by its byte range. Prefer this: it costs no copy, and the chunk
    /// keeps its lines.
    pub fn slice(range: Range<usize>) -> Self {
        Self::of(Content::Slice(range))
    }

    /// A text that does not stand in the document.
    pub fn generated(text: impl Into<String>) -> Self {
        Self::of(Content::Generated(text.into()))
    }

    fn of(content: Content) -> Self {
        Self { content, context: None, kind: None, name: None, attrs: Attrs::new() }
    }

    /// With a heading path or signature.
    #[must_use]
    pub fn with_context(mut self, context: impl Into<String>) -> Self {
        self.context = Some(context.into());
        self
    }

    /// With what the passage is; mostly a literal, which is handed over where it lies.
    #[must_use]
    pub fn with_kind(mut self, kind: impl Into<Cow<'static, str>>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    /// With the name of its symbol or section.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// With one more attribute.
    #[must_use]
    pub fn with_attr(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<AttrValue>) -> Self {
        self.attrs.push((name.into(), value.into()));
        self
    }

    /// The passage's text, as the engine will see it. None where the range is not one of the text.
    pub fn text<'a>(&'a self, document: &'a Document) -> Option<&'a str> {
        match &self.content {
            Content::Slice(range) => document.text.get(range.clone()),
            Content::Generated(text) => Some(text),
        }
    }
}
