//! The trait that an author implements.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Chunk, Diagnostic, Document};

/// What a component says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Info {
    /// Its name: letters, digits, `-`, `_` and `.`.
    pub name: &'static str,
    /// Its version; `env!("CARGO_PKG_VERSION")` is a good one.
    pub version: &'static str,
    /// One sentence on what it does.
    pub summary: &'static str,
    /// Extensions of the files it takes where the stage names no patterns, such as `.md`.
    pub extensions: &'static [&'static str],
}

/// A chunker: splits documents by one configuration.
pub trait Chunker: Sized {
    /// What it is.
    const INFO: Info;

    /// What can be set in `reposync.toml` under `config`; its JSON Schema is derived.
    /// [`NoConfig`] where there is nothing to set.
    ///
    /// Give it `#[serde(default, deny_unknown_fields)]`: then everything is optional, and a key
    /// with a typing error is told to the person who wrote it.
    type Config: DeserializeOwned + JsonSchema;

    /// Makes a chunker of a configuration that is well-formed, or says what is wrong with it.
    fn configure(config: Self::Config) -> Result<Self, Vec<Diagnostic>>;

    /// What is doubtful about the configuration it was made with.
    fn warnings(&self) -> Vec<Diagnostic> {
        Vec::new()
    }

    /// Splits one document. An empty list: there is nothing to index.
    fn split(&self, document: &Document) -> Result<Vec<Chunk>, ChunkError>;
}

/// Why a document yields no chunks.
#[derive(Debug, Clone, PartialEq)]
pub enum ChunkError {
    /// Not a document for this component: the next chunker of the pipeline that matches takes it.
    NotMine,
    /// The document is of the right kind but broken; its author can mend it.
    BadDocument(Vec<Diagnostic>),
    /// The component could not do its work, for this reason.
    Failed(String),
}

/// The configuration of a chunker that takes none; any key is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}
