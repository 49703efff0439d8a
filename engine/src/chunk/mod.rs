//! A file's text into chunks. Pure and synchronous: text in, ranges out; a built-in chunker and a
//! component look the same from outside. Knows nothing of sources, vectors or the ledger.

pub mod component;
mod settings;

use std::sync::Arc;

use crate::model::{Chunk, Cleaned, Document};

pub use component::{ComponentChunker, ComponentHost};
pub use settings::{CodeSettings, MarkdownSettings, SentenceSettings, WasmSettings};

/// Why a chunker gave no chunks.
#[derive(Debug)]
pub enum ChunkError {
    /// The chunker does not want this file; the next one of the pipeline that matches gets it.
    NotMine,
    /// This file cannot be chunked: the component's own refusal, a trap, a bad range. `message`
    /// names component and version, what happened, and `hint` what to do.
    Failed {
        /// What happened.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The chunker as a whole has stopped for this run (three different documents trapped in a
    /// row): every further file fails with this message.
    Stopped {
        /// What happened.
        message: String,
    },
}

/// Cuts documents into chunks.
///
/// The same text, path and language always give the same chunks. Chunks come in order (starts and
/// ends never decrease). Built-in chunkers leave no gap but white space.
pub trait Chunker: Send + Sync {
    /// The stage's name in the file.
    fn stage(&self) -> &str;

    /// Name, version and settings (and a component's SHA-256): what the chunks depend on besides
    /// the document. Goes into the recipe.
    fn identity(&self) -> &str;

    /// Name and version as people know it, for the reasons of a plan: `changelog 0.2.0`.
    fn label(&self) -> &str;

    /// True when the stage takes files of this path.
    fn matches(&self, path: &str) -> bool;

    /// True when it may answer `NotMine`, so that later chunkers of the pipeline are part of the
    /// recipe of a file it matches.
    fn may_decline(&self) -> bool {
        false
    }

    /// A last cleaning of its own, before `chunk`; ranges and `text` are of its result.
    fn prepare(&self, cleaned: Cleaned) -> Cleaned {
        cleaned
    }

    /// A run begins: what a chunker gave up in the last one is tried again.
    fn begin_run(&self) {}

    /// Cuts one document. An empty list: there is nothing to index.
    fn chunk(&self, document: &Document<'_>) -> Result<Vec<Chunk>, ChunkError>;
}

/// Counts the tokens of a text the way the pipeline's embedder does.
pub type TokenCounter = Arc<dyn Fn(&str) -> usize + Send + Sync>;
