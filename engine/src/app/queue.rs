//! The queue of units.

use serde::Serialize;

use super::{App, AppResult};
use crate::model::{StageError, StageResult};
use crate::state::{DaemonRow, Queue, WorkerRow};

pub use crate::state::{QueueCounts, UnitRow, UnitState};

/// Workers and units.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub struct QueueView {
    /// How many units there are.
    pub counts: QueueCounts,
    /// Those who work on them.
    pub workers: Vec<WorkerRow>,
    /// The daemons; one of them starts runs.
    pub daemons: Vec<DaemonRow>,
    /// Units, newest first.
    pub units: Vec<UnitRow>,
}

impl App {
    /// Whether the state has a queue.
    pub fn has_queue(&self) -> bool {
        self.state.queue().is_some()
    }

    /// Workers and units: those in this state, or all.
    pub async fn queue(&self, state: Option<UnitState>, limit: usize) -> AppResult<QueueView> {
        let queue = self.units_queue()?;
        let daemons = async {
            match self.state.daemons() {
                Some(state) => state.list_daemons().await,
                None => Ok(Vec::new()),
            }
        };
        let (counts, workers, daemons, mut units) =
            futures::try_join!(queue.counts(), queue.workers(), daemons, queue.list(state, limit))?;
        units.retain(|unit| self.sees(unit));
        Ok(QueueView { counts, workers, daemons, units })
    }

    /// How many units and workers there are; `None` where there is no queue.
    pub async fn queue_counts(&self) -> AppResult<Option<(QueueCounts, usize)>> {
        let Some(queue) = self.state.queue() else { return Ok(None) };
        let (counts, workers) = futures::try_join!(queue.counts(), queue.workers())?;
        Ok(Some((counts, workers.len())))
    }

    /// A unit by its number.
    pub async fn unit(&self, id: i64) -> AppResult<Option<UnitRow>> {
        Ok(self.units_queue()?.unit(id).await?.filter(|unit| self.sees(unit)))
    }

    /// Takes a unit out of the list of dead ones; see [`Queue::settle`]. `None`: there is no such dead unit.
    pub async fn settle_unit(&self, id: i64, retry: bool) -> AppResult<Option<UnitRow>> {
        let queue = self.units_queue()?;
        let unit = queue.unit(id).await?.filter(|unit| self.sees(unit));
        Ok(if unit.is_some() && queue.settle(id, retry).await? { unit } else { None })
    }

    fn sees(&self, unit: &UnitRow) -> bool {
        self.access.has_project(&unit.project) && self.access.has_repository(&unit.repository)
    }

    fn units_queue(&self) -> StageResult<&dyn Queue> {
        self.state.queue().ok_or_else(|| match self.config.engine.state.file() {
            Some(_) => {
                StageError::misconfigured("engine", "the state is a file: there are no workers and no queue")
                    .hint("`state = \"postgres://…\"` in `[engine]` makes runs that several processes share")
            }
            None => StageError::misconfigured("engine", "the database holds no state yet")
                .hint("`reposync apply`, `daemon` or `worker` makes it"),
        })
    }
}
