//! How a model distinguishes documents from queries: by a prefix of the text, or by a parameter of the request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest prefix, in bytes.
const LONGEST: usize = 2000;

/// What a text is embedded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Document,
    Query,
}

/// The values of the parameter `input_type`, by the service that defines them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InputType {
    /// `document` and `query`.
    Voyage,
    /// `search_document` and `search_query`.
    Cohere,
    /// `passage` and `query`.
    Nvidia,
}

impl InputType {
    fn value(self, purpose: Purpose) -> &'static str {
        match (self, purpose) {
            (Self::Voyage, Purpose::Document) => "document",
            (Self::Cohere, Purpose::Document) => "search_document",
            (Self::Nvidia, Purpose::Document) => "passage",
            (Self::Voyage | Self::Nvidia, Purpose::Query) => "query",
            (Self::Cohere, Purpose::Query) => "search_query",
        }
    }
}

/// What a stage adds to texts and requests. The default adds nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Purposes {
    pub(super) document_prefix: String,
    pub(super) query_prefix: String,
    pub(super) input_type: Option<InputType>,
}

impl Purposes {
    pub(super) fn new(
        document_prefix: Option<&str>,
        query_prefix: Option<&str>,
        input_type: Option<InputType>,
    ) -> Self {
        let text = |prefix: Option<&str>| prefix.unwrap_or_default().to_owned();
        Self { document_prefix: text(document_prefix), query_prefix: text(query_prefix), input_type }
    }

    /// What the vectors of documents depend on, as further parts of an identity; none if nothing is added. A
    /// query's prefix is not among them: an edit of it changes no vector that is stored.
    pub(super) fn identity(&self) -> Vec<String> {
        let prefix = Some(&self.document_prefix).filter(|prefix| !prefix.is_empty());
        let kind = self.input_type.map(|kind| format!("input_type {}", kind.value(Purpose::Document)));
        prefix.map(|prefix| format!("document_prefix {prefix}")).into_iter().chain(kind).collect()
    }

    pub(super) fn document(&self, text: String) -> String {
        if self.document_prefix.is_empty() { text } else { format!("{}{text}", self.document_prefix) }
    }

    pub(super) fn query(&self, text: &str) -> String {
        format!("{}{text}", self.query_prefix)
    }

    pub(super) fn input_type(&self, purpose: Purpose) -> Option<&'static str> {
        self.input_type.map(|kind| kind.value(purpose))
    }
}

/// What is wrong with a prefix.
pub(super) fn bad_prefix(prefix: Option<&str>) -> Option<&'static str> {
    match prefix {
        Some(prefix) if prefix.len() > LONGEST => Some("longer than 2000 bytes"),
        Some(prefix) if prefix.contains('\0') => Some("has a NUL character"),
        _ => None,
    }
}
