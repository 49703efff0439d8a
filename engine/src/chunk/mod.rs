//! Splits a file's text into chunks. Pure and synchronous: takes text, returns ranges. Built-in
//! chunkers and components share one interface. Independent of sources, vectors and the ledger.
//!
//! The pipeline for one file: [`clean`] decodes the bytes, the first [`Chunker`] that matches may
//! [`prepare`] the text and cuts it, and [`fit`] validates the chunks and enforces the limits of
//! embedder and store.
//!
//! [`prepare`]: Chunker::prepare

mod clean;
pub mod code;
pub mod component;
mod config;
pub mod encoded;
mod fit;
#[cfg(test)]
mod invariants;
mod language;
mod latin1;
mod lines;
pub mod markdown;
pub mod pattern;
#[cfg(any(test, fuzzing))]
pub mod promises;
mod script;
pub mod secrets;
pub mod sentence;
mod size;
mod sizes;
mod tokens;

use crate::model::{Chunk, Cleaned, Document, PathMatcher, StageError, StageResult};

pub use clean::clean;
pub use config::{ChunkerConfig, ChunkerContext};
pub use fit::{BadChunk, Limits, Piece, fit};
pub use language::{language_of, media_type_of};
pub use script::language_in;
pub use tokens::{TokenCounter, Tokens};

/// Why a chunker returned no chunks.
#[derive(Debug)]
pub enum ChunkError {
    /// The chunker declines this file; the next matching chunker of the pipeline gets it.
    NotMine,
    /// The chunker failed on this file, and its stage passes such files to the next matching
    /// chunker of the pipeline.
    Left {
        /// The reason, in one line that names the component.
        why: String,
    },
    /// The file cannot be chunked: the component reported an error, trapped, or returned a bad
    /// range.
    Failed {
        /// Component, version and what happened.
        message: String,
        /// What the user can do.
        hint: Option<String>,
    },
    /// The chunker is disabled for the rest of this run (three different documents trapped in a
    /// row); every further file fails with this message.
    Stopped {
        /// Component, version and what happened.
        message: String,
    },
}

/// Cuts documents into chunks.
///
/// The same text, path and language always give the same chunks. Chunks are in order (starts and
/// ends never decrease). Built-in chunkers cover the whole text except white space.
pub trait Chunker: Send + Sync {
    /// Name, identity and label of this chunker.
    fn named(&self) -> &Named;

    /// See [`Named::stage`].
    fn stage(&self) -> &str {
        &self.named().stage
    }

    /// See [`Named::identity`].
    fn identity(&self) -> &str {
        &self.named().identity
    }

    /// See [`Named::label`].
    fn label(&self) -> &str {
        &self.named().label
    }

    /// True if the stage accepts files with this path.
    fn matches(&self, path: &str) -> bool;

    /// The part of the identity that affects files with this path. Part of their recipe, so that a
    /// grammar update re-indexes only the files of that language.
    fn identity_of(&self, _path: &str) -> &str {
        self.identity()
    }

    /// True if `chunk` may return `NotMine` for a file with this path. If so, the later chunkers of
    /// the pipeline are part of the file's recipe.
    fn may_decline(&self, _path: &str) -> bool {
        false
    }

    /// True if the chunker sees encoded data (see [`encoded`]) unabridged.
    fn reads_encoded(&self) -> bool {
        false
    }

    /// Chunker-specific cleaning before `chunk`; ranges and `text` refer to its result.
    fn prepare(&self, cleaned: Cleaned) -> Cleaned {
        cleaned
    }

    /// The description of the component that does the work; `None` for built-in chunkers.
    fn component(&self) -> Option<&component::ComponentInfo> {
        None
    }

    /// Called when a run begins; clears state of the previous run, such as a disabled component.
    fn begin_run(&self) {}

    /// Cuts one document. An empty list means that there is nothing to index.
    fn chunk(&self, document: &Document<'_>) -> Result<Vec<Chunk>, ChunkError>;
}

/// Properties that every chunker has.
#[derive(Debug, Clone)]
pub struct Named {
    /// The stage's name in `reposync.toml`.
    pub stage: String,
    /// Everything that determines the chunks besides the document: name, version and settings, plus
    /// the component's SHA-256 or the grammar versions.
    pub identity: String,
    /// Human-readable name and version for the reasons in a plan: `changelog 0.2.0`.
    pub label: String,
    /// The stage's `match` globs; `None` if the chunker kind decides.
    pub patterns: Option<PathMatcher>,
}

impl Named {
    fn new(stage: &str, identity: String, label: String, patterns: Option<&[String]>) -> StageResult<Self> {
        let patterns = patterns
            .map(PathMatcher::new)
            .transpose()
            .map_err(|error| StageError::misconfigured(stage, format!("`match`: {error}")))?;
        Ok(Self { stage: stage.to_owned(), identity, label, patterns })
    }

    /// True if `match` selects the file; without `match`, asks `kind`.
    fn takes(&self, path: &str, kind: impl FnOnce() -> bool) -> bool {
        self.patterns.as_ref().map_or_else(kind, |patterns| patterns.matches(path))
    }
}

/// The chunk size from a stage's settings: tokens if `max_tokens` is set, else characters.
fn size_of(
    stage: &str,
    max_chars: usize,
    max_tokens: Option<usize>,
    counter: Option<TokenCounter>,
) -> StageResult<size::Size> {
    match (max_tokens, counter) {
        (None, _) => Ok(size::Size::chars(max_chars)),
        (Some(max), Some(counter)) => Ok(size::Size::tokens(max, counter)),
        (Some(_), None) => {
            Err(StageError::misconfigured(stage, "`max_tokens` needs an embedder that counts tokens"))
        }
    }
}
