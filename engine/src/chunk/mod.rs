//! A file's text into chunks. Pure and synchronous: text in, ranges out; a built-in chunker and a
//! component look the same from outside. Knows nothing of sources, vectors or the ledger.
//!
//! A file's way: [`clean`] makes text of bytes, the first [`Chunker`] that matches may [`prepare`]
//! it and cuts it, [`fit`] checks the result and makes it fit embedder and store.
//!
//! [`prepare`]: Chunker::prepare

mod clean;
mod code;
pub mod component;
pub mod encoded;
mod fit;
#[cfg(test)]
mod invariants;
mod language;
mod latin1;
mod lines;
mod markdown;
#[cfg(any(test, fuzzing))]
pub mod promises;
mod script;
pub mod secrets;
mod sentence;
mod settings;
mod size;

use std::sync::Arc;

use crate::model::{Chunk, Cleaned, Document, PathMatcher, StageError, StageResult};

pub use clean::clean;
pub use code::CodeChunker;
pub use component::{ComponentChunker, ComponentHost};
pub use fit::{BadChunk, Limits, Piece, fit};
pub use language::{language_of, media_type_of};
pub use markdown::MarkdownChunker;
pub use script::language_in;
pub use sentence::SentenceChunker;
pub use settings::{CodeSettings, MarkdownSettings, OnError, SentenceSettings, WasmSettings};

/// Why a chunker gave no chunks.
#[derive(Debug)]
pub enum ChunkError {
    /// The chunker does not want this file; the next one of the pipeline that matches gets it.
    NotMine,
    /// The chunker cannot use this file, and its stage leaves such files to the next one of the
    /// pipeline that matches.
    Left {
        /// Why, in one line that names the component.
        why: String,
    },
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
    /// What it is called.
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

    /// True when the stage takes files of this path.
    fn matches(&self, path: &str) -> bool;

    /// The part of the identity that matters for files of this path. Goes into their recipe, so that
    /// an update of one language's grammar concerns only the files of that language.
    fn identity_of(&self, _path: &str) -> &str {
        self.identity()
    }

    /// True when it may answer `NotMine` for a file of this path, which it matches: then later
    /// chunkers of the pipeline are part of the file's recipe.
    fn may_decline(&self, _path: &str) -> bool {
        false
    }

    /// True when it is shown encoded data (see [`encoded`]) as it stands.
    fn reads_encoded(&self) -> bool {
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

/// Version of the counting of tokens: changes when an embedder begins to find another number of them
/// in the same text. A part of the identity of every stage whose sizes are in tokens; the version of
/// the recipe's own steps must grow with it, since over-long chunks of the others are cut by it too.
const COUNTING: u32 = 3;

/// Counts the tokens of a text the way the pipeline's embedder does.
pub type TokenCounter = Arc<dyn Fn(&str) -> usize + Send + Sync>;

/// What every chunker has: its names, and the globs of its stage.
#[derive(Debug, Clone)]
pub struct Named {
    /// The stage's name in the file.
    pub stage: String,
    /// Name, version and settings (and a component's SHA-256, and the versions of all grammars):
    /// what the chunks depend on besides the document.
    pub identity: String,
    /// Name and version as people know it, for the reasons of a plan: `changelog 0.2.0`.
    pub label: String,
    /// The files that the stage's `match` names; none: those that its kind takes.
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

    /// True for a file that `match` names; where there is none, as the kind says.
    fn takes(&self, path: &str, kind: impl FnOnce() -> bool) -> bool {
        self.patterns.as_ref().map_or_else(kind, |patterns| patterns.matches(path))
    }
}

/// The size that a stage's settings ask for: tokens where they name them, else characters.
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
