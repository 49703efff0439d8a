//! How the units of runs are handed to other processes.

use std::sync::Arc;

use super::App;
use crate::model::host_name;
use crate::state::{UnitClaim, Worker};
use crate::sync::Units;

impl App {
    /// `None`: the state is a file, which only one process writes to.
    pub(super) fn units(&self) -> Option<Arc<Units>> {
        self.state.queue()?;
        let settings = self.config.workers;
        let claim = UnitClaim::new(Worker::new(host_name(), settings.units), settings);
        let (factory, config) = (Arc::clone(&self.factory), Arc::clone(&self.config));
        let generation = Arc::new(move || factory.generation(&config));
        Some(Arc::new(Units { settings, claim, generation }))
    }
}
