//! The trait that a chunker implements.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Chunk, Diagnostic, Document};

/// Metadata of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Info {
    /// Name: letters, digits, `-`, `_` and `.`.
    pub name: &'static str,
    /// Version; usually `env!("CARGO_PKG_VERSION")`.
    pub version: &'static str,
    /// One sentence that describes what the component does.
    pub summary: &'static str,
    /// The files it accepts if the stage sets no `match`: extensions such as `.md`, file names such as
    /// `Makefile`, and globs such as `docs/**/*.txt`.
    pub extensions: &'static [&'static str],
}

/// A chunker: splits documents according to one configuration.
pub trait Chunker: Sized {
    /// Metadata of the component.
    const INFO: Info;

    /// The type of `config` in `reposync.toml`; its JSON Schema is derived from the type. Use
    /// [`NoConfig`] if there is nothing to configure.
    ///
    /// Annotate it with `#[serde(default, deny_unknown_fields)]`: then every key is optional, and a
    /// misspelled key is reported to the user.
    type Config: DeserializeOwned + JsonSchema;

    /// Creates a chunker from a well-formed configuration, or returns what is wrong with it.
    fn configure(config: Self::Config) -> Result<Self, Vec<Diagnostic>>;

    /// Warnings about the configuration.
    fn warnings(&self) -> Vec<Diagnostic> {
        Vec::new()
    }

    /// Splits one document. An empty list means that there is nothing to index.
    fn split(&self, document: &Document) -> Result<Vec<Chunk>, ChunkError>;
}

/// Why a document has no chunks.
#[derive(Debug, Clone, PartialEq)]
pub enum ChunkError {
    /// The component declines the document: the next matching chunker of the pipeline gets it.
    NotMine,
    /// The document is of the right kind but malformed; its author can fix it.
    BadDocument(Vec<Diagnostic>),
    /// The component failed, for this reason.
    Failed(String),
}

/// The configuration of a chunker without settings; any key is an error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}
