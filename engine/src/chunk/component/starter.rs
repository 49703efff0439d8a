//! Configured instances of a component, a new one for each document: nothing that a component
//! remembers of one document, or of one project, reaches another.

use std::sync::Arc;

use super::compiled::Compiled;
use super::fault::Fault;
use super::instance::{Configured, Instance};
use super::limits::Limits;
use super::runtime::Runtime;

/// What a stage starts its instances with.
pub(super) struct Starter {
    pub(super) runtime: Arc<Runtime>,
    pub(super) compiled: Arc<Compiled>,
    pub(super) config_json: String,
    pub(super) limits: Limits,
}

impl Starter {
    /// A new instance, with its answer to the configuration.
    pub(super) fn start(&self) -> Result<(Instance, Configured), Fault> {
        let watch = self.runtime.watch();
        let mut instance = Instance::start(&self.compiled.pre, &self.limits, watch)?;
        let configured = instance.configure(&self.config_json, &self.limits, watch)?;
        Ok((instance, configured))
    }

    /// A new instance for a document. The component took this configuration when the stage was loaded.
    pub(super) fn for_document(&self) -> Result<Instance, Fault> {
        match self.start()? {
            (instance, Ok(_)) => Ok(instance),
            (_, Err(_)) => Err(Fault::broken("it refuses the configuration that it took when it was loaded")),
        }
    }
}
