//! What is asked.

use serde_json::Value;

use crate::rank::Mode;
use crate::store::Selection;

/// A search.
#[derive(Debug, Clone)]
pub struct Request {
    /// The query. It may have filters: `repo:`, `path:`, `lang:`, `kind:`, `sym:`.
    pub text: String,
    /// Maximum number of matches.
    pub top_k: usize,
    /// How many of the best matches are left out.
    pub offset: usize,
    /// Maximum number of matches of one file; 0: no limit.
    pub per_file: usize,
    /// What is ranked by.
    pub mode: Mode,
    /// A symbol whose definitions come first.
    pub symbol: Option<String>,
    /// How many chunks before and after each match are given with it.
    pub context: usize,
    /// Whether a match that is part of a symbol is given with the whole symbol.
    pub expand: bool,
    /// Filters.
    pub selection: Selection,
    /// A filter on the metadata in Pinecone's syntax.
    pub filter: Option<Value>,
    /// Whether the terms of each score are given.
    pub explain: bool,
    /// Whether tests and files of low value score less; `None`: by the store's settings.
    pub penalties: Option<bool>,
    /// Terms of the ranking to leave out, by their letter; see [`crate::rank::Weights`].
    pub without: &'static str,
}

impl Request {
    /// A search for a text with the default settings.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            top_k: 5,
            offset: 0,
            per_file: 2,
            mode: Mode::default(),
            symbol: None,
            context: 0,
            expand: false,
            selection: Selection::default(),
            filter: None,
            explain: false,
            penalties: None,
            without: "",
        }
    }
}
