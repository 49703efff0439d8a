//! Configured instances of one component with one configuration, kept between documents.

use std::sync::{Arc, Mutex, PoisonError};

use super::compiled::Compiled;
use super::fault::Fault;
use super::host::Shared;
use super::instance::{Configured, Instance};
use super::limits::Limits;

/// After so many documents an instance is replaced: whatever it leaks stays small.
const MAX_DOCUMENTS: usize = 1_000;

/// Idle instances kept; more than the cores would never run at once.
const MAX_IDLE: usize = 32;

/// Shared by all stages that name the same component with the same configuration.
pub(super) struct Pool {
    pub(super) compiled: Arc<Compiled>,
    pub(super) config_json: String,
    pub(super) host: Arc<Shared>,
    idle: Mutex<Vec<Instance>>,
}

impl Pool {
    pub(super) fn new(host: Arc<Shared>, compiled: Arc<Compiled>, config_json: String) -> Self {
        Self { compiled, config_json, host, idle: Mutex::new(Vec::new()) }
    }

    /// An idle instance, if there is one.
    pub(super) fn take(&self) -> Option<Instance> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// A new one, configured; with what it answered.
    pub(super) fn start(&self, limits: &Limits) -> Result<(Instance, Configured), Fault> {
        let watch = self.host.watch();
        let mut instance = Instance::start(&self.compiled.pre, &self.compiled.info.label(), limits, watch)?;
        let configured = instance.configure(&self.config_json, limits, watch)?;
        Ok((instance, configured))
    }

    /// Takes an instance back, unless it is worn.
    pub(super) fn put(&self, instance: Instance, limits: &Limits) {
        let worn = instance.documents() >= MAX_DOCUMENTS || instance.memory() > limits.memory / 2;
        if !worn {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < MAX_IDLE {
                idle.push(instance);
            }
        }
    }
}
