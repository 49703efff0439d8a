//! The one place that knows the generated bindings.

use crate::{AttrValue, Attrs, Chunk, ChunkError, Content, Diagnostic, Document, Level, Severity};
use bindings::generated::exports::reposync::chunker::chunker as exported;
use bindings::generated::reposync::chunker::{log as imported, types};

/// What the macro [`export_chunker!`](crate::export_chunker) names.
pub mod bindings {
    #[expect(missing_docs, reason = "generated; wit/chunker.wit has the words")]
    pub mod generated {
        wit_bindgen::generate!({
            path: "../wit",
            world: "chunker-plugin",
            pub_export_macro: true,
            export_macro_name: "export_component",
        });
    }

    pub use generated::export_component;
    pub use generated::exports::reposync::chunker::chunker::{Document, Guest, PluginInfo};
}

/// What the macro's expansion calls; not for authors.
pub mod __private {
    use std::cell::OnceCell;

    use super::{exported, types};
    use crate::{Chunker, configure as from_json};

    /// What `configure` answers.
    pub type Configured = Result<Vec<types::Diagnostic>, Vec<types::Diagnostic>>;
    /// What `split` answers.
    pub type Split = Result<Vec<types::Chunk>, types::ChunkError>;

    /// The component's description.
    pub fn describe<C: Chunker>() -> exported::PluginInfo {
        let info = C::INFO;
        exported::PluginInfo {
            name: info.name.to_owned(),
            version: info.version.to_owned(),
            summary: info.summary.to_owned(),
            offset_unit: exported::OffsetUnit::Utf8Bytes,
            extensions: info.extensions.iter().map(|&it| it.to_owned()).collect(),
            config_schema: from_json::schema::<C>(),
        }
    }

    /// Fills the instance's cell.
    pub fn configure<C: Chunker>(cell: &OnceCell<C>, json: &str) -> Configured {
        let chunker = from_json::configure::<C>(json).map_err(super::all)?;
        let warnings = super::all(chunker.warnings());
        match cell.set(chunker) {
            Ok(()) => Ok(warnings),
            Err(_) => Err(super::all(vec![crate::Diagnostic::error(
                "configured-twice",
                "an instance is configured once",
            )])),
        }
    }

    /// Splits with what stands in the instance's cell.
    pub fn split<C: Chunker>(cell: &OnceCell<C>, document: types::Document) -> Split {
        let Some(chunker) = cell.get() else {
            return Err(types::ChunkError::Failed("asked to split before it was configured".into()));
        };
        match chunker.split(&document.into()) {
            Ok(chunks) => Ok(chunks.into_iter().map(Into::into).collect()),
            Err(error) => Err(error.into()),
        }
    }
}

pub(crate) fn write_log(level: Level, message: &str) {
    let level = match level {
        Level::Trace => imported::Level::Trace,
        Level::Debug => imported::Level::Debug,
        Level::Info => imported::Level::Info,
        Level::Warn => imported::Level::Warn,
        Level::Error => imported::Level::Error,
    };
    imported::write(level, message);
}

fn all(diagnostics: Vec<Diagnostic>) -> Vec<types::Diagnostic> {
    diagnostics.into_iter().map(Into::into).collect()
}

fn offset(bytes: usize) -> u32 {
    // Memory has 32 bits in a component, so every offset of a text fits.
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn span(range: std::ops::Range<usize>) -> types::Span {
    types::Span { start: offset(range.start), end: offset(range.end) }
}

fn attrs(attrs: Attrs) -> types::Attrs {
    attrs.into_iter().map(|(name, value)| (name, value.into())).collect()
}

impl From<AttrValue> for types::AttrValue {
    fn from(value: AttrValue) -> Self {
        match value {
            AttrValue::Text(text) => Self::Text(text),
            AttrValue::Number(number) => Self::Number(number),
            AttrValue::Flag(flag) => Self::Flag(flag),
            AttrValue::Texts(texts) => Self::Texts(texts),
        }
    }
}

impl From<types::AttrValue> for AttrValue {
    fn from(value: types::AttrValue) -> Self {
        match value {
            types::AttrValue::Text(text) => Self::Text(text),
            types::AttrValue::Number(number) => Self::Number(number),
            types::AttrValue::Flag(flag) => Self::Flag(flag),
            types::AttrValue::Texts(texts) => Self::Texts(texts),
        }
    }
}

impl From<types::Document> for Document {
    fn from(document: types::Document) -> Self {
        Self {
            path: document.path,
            text: document.text,
            media_type: document.media_type,
            language: document.language,
            attrs: document.attrs.into_iter().map(|(name, value)| (name, value.into())).collect(),
        }
    }
}

impl From<Chunk> for types::Chunk {
    fn from(chunk: Chunk) -> Self {
        Self {
            content: match chunk.content {
                Content::Slice(range) => types::Content::Slice(span(range)),
                Content::Generated(text) => types::Content::Generated(text),
            },
            context: chunk.context,
            kind: chunk.kind,
            name: chunk.name,
            attrs: attrs(chunk.attrs),
        }
    }
}

impl From<ChunkError> for types::ChunkError {
    fn from(error: ChunkError) -> Self {
        match error {
            ChunkError::NotMine => Self::NotMine,
            ChunkError::BadDocument(diagnostics) => Self::BadDocument(all(diagnostics)),
            ChunkError::Failed(reason) => Self::Failed(reason),
        }
    }
}

impl From<Diagnostic> for types::Diagnostic {
    fn from(diagnostic: Diagnostic) -> Self {
        Self {
            severity: match diagnostic.severity {
                Severity::Error => types::Severity::Error,
                Severity::Warning => types::Severity::Warning,
                Severity::Note => types::Severity::Note,
            },
            code: diagnostic.code,
            message: diagnostic.message,
            pointer: diagnostic.pointer,
            at: diagnostic.at.map(span),
        }
    }
}
