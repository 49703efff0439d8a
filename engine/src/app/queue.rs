//! The queue of units.

use serde::Serialize;

use super::{App, AppResult};
use crate::model::{StageError, StageResult};
use crate::state::Queue;

pub use crate::state::{DaemonRow, QueueCounts, UnitQuery, UnitRow, UnitState, WorkerRow};

/// Maximum number of units that are read for a caller that may see a part of them.
const MOST: usize = 10_000;

/// Workers and units.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub struct QueueView {
    /// How many units there are. For a token that is limited to a part: how many of it, and what concerns leases is 0.
    pub counts: QueueCounts,
    /// Those who work on them. `refused` is for tokens that may see all projects and repositories.
    pub workers: Vec<WorkerRow>,
    /// The daemons; one of them starts runs.
    pub daemons: Vec<DaemonRow>,
    /// Units, newest first.
    pub units: Vec<UnitRow>,
    /// The value of `before` for older units; null: there are none.
    pub next: Option<i64>,
}

impl App {
    /// Whether the state has a queue.
    pub fn has_queue(&self) -> bool {
        self.state.queue().is_some()
    }

    /// Workers and units.
    pub async fn queue(&self, query: &UnitQuery) -> AppResult<QueueView> {
        let queue = self.units_queue()?;
        let one_more = query.limit.saturating_add(1);
        let mut view = if self.access.is_whole() {
            let wanted = UnitQuery { limit: one_more, ..query.clone() };
            let (counts, workers, units) =
                futures::try_join!(queue.counts(), queue.workers(), queue.list(&wanted))?;
            QueueView { counts, workers, units, ..QueueView::default() }
        } else {
            let (mut workers, mut units, now) =
                futures::try_join!(queue.workers(), self.visible_units(queue), queue.clock())?;
            let counts = QueueCounts::of(&units, now);
            units.retain(|unit| query.includes(unit));
            // Such a reason may name stages of other projects.
            for worker in &mut workers {
                worker.refused = None;
            }
            QueueView { counts, workers, units, ..QueueView::default() }
        };
        if let Some(state) = self.state.daemons() {
            view.daemons = state.list_daemons().await?;
        }
        if view.units.len() > query.limit {
            view.units.truncate(query.limit);
            view.next = view.units.last().map(|unit| unit.id);
        }
        Ok(view)
    }

    /// Units, newest first.
    pub async fn units_of(&self, query: &UnitQuery) -> AppResult<Vec<UnitRow>> {
        let queue = self.units_queue()?;
        if self.access.is_whole() {
            return Ok(queue.list(query).await?);
        }
        let mut units = self.visible_units(queue).await?;
        units.retain(|unit| query.includes(unit));
        units.truncate(query.limit);
        Ok(units)
    }

    /// All units that the caller may see. Units are few, and which may be seen is not known to the database.
    async fn visible_units(&self, queue: &dyn Queue) -> StageResult<Vec<UnitRow>> {
        let mut units = queue.list(&UnitQuery { limit: MOST, ..UnitQuery::default() }).await?;
        units.retain(|unit| self.sees(unit));
        Ok(units)
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
