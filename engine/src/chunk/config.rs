//! What a kind of chunker declares in addition to its settings.

use std::path::Path;
use std::sync::Arc;

use super::component::{ComponentHost, Location};
use super::{Chunker, TokenCounter, Tokens};
use crate::model::StageResult;
use crate::stage::AnyStageConfig;

/// What a chunker is built with.
pub struct ChunkerContext<'a> {
    /// The stage's name in the file.
    pub stage: &'a str,
    /// Counts tokens as the pipeline's embedder does.
    pub counter: TokenCounter,
    /// Returns the process's host of components, which is started on first use.
    pub host: &'a (dyn Fn() -> StageResult<&'a ComponentHost> + 'a),
    /// What a component may ask about the pipeline's embedder; `None` outside of a pipeline.
    pub tokens: Option<Tokens>,
    /// The file to which a component with an address was fetched.
    pub fetched: Option<&'a Path>,
}

impl ChunkerContext<'_> {
    /// The host of components.
    pub fn host(&self) -> StageResult<&ComponentHost> {
        (self.host)()
    }
}

/// The settings of a chunker.
pub trait ChunkerConfig: AnyStageConfig {
    /// Builds the chunker. May block: a component is compiled, started and configured.
    fn build(&self, context: &ChunkerContext<'_>) -> StageResult<Arc<dyn Chunker>>;

    /// The globs of `match`. They are no part of a chunker's identity, but they decide who takes a
    /// file.
    fn patterns(&self) -> Option<&[String]>;

    /// Where the component that the stage runs comes from; `None` for built-in chunkers.
    fn component(&self) -> Option<&Location> {
        None
    }

    /// The SHA-256 to which the stage pins its component.
    fn sha256(&self) -> Option<&str> {
        None
    }
}
