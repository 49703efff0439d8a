//! Starts a configured instance per document, so that no state leaks from one document, or project,
//! to another.

use std::sync::Arc;

use super::compiled::Compiled;
use super::fault::Fault;
use super::instance::{Configured, Instance};
use super::limits::Limits;
use super::runtime::Runtime;
use crate::chunk::Tokens;

/// Everything a stage needs to start an instance.
pub(super) struct Starter {
    pub(super) runtime: Arc<Runtime>,
    pub(super) compiled: Arc<Compiled>,
    pub(super) config_json: String,
    pub(super) limits: Limits,
    /// What the component may ask about the embedder.
    pub(super) tokens: Tokens,
}

impl Starter {
    /// Starts an instance; also returns the result of `configure`.
    pub(super) fn start(&self) -> Result<(Instance, Configured), Fault> {
        let watch = self.runtime.watch();
        let mut instance = Instance::start(&self.compiled.pre, &self.limits, &self.tokens, watch)?;
        let configured = instance.configure(&self.config_json, &self.limits, watch)?;
        Ok((instance, configured))
    }

    /// Starts an instance for a document. `configure` succeeded when the stage was loaded.
    pub(super) fn for_document(&self) -> Result<Instance, Fault> {
        match self.start()? {
            (instance, Ok(_)) => Ok(instance),
            (_, Err(_)) => {
                Err(Fault::broken("it refuses the configuration that it accepted when it was loaded"))
            }
        }
    }
}
