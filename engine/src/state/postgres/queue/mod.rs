//! The queue of units as rows.

mod claim;
mod generations;
mod operate;
mod run;
#[cfg(test)]
mod tests;
pub(super) mod wake;
mod workers;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::watch;

use super::store::PostgresState;
use crate::model::StageResult;
use crate::state::fence::Fence;
use crate::state::queue::{
    ClaimedUnit, Generation, NewUnit, Placed, PutBack, Queue, QueueCounts, UnitClaim, UnitNews, UnitQuery,
    UnitRow, Worker, WorkerRow,
};

/// The generation that a daemon adopted last; where none has, the newest one of a run.
const NEWEST: &str = "SELECT number FROM generations ORDER BY adopted DESC NULLS LAST, number DESC LIMIT 1";

#[async_trait]
impl Queue for PostgresState {
    async fn enter(&self, worker: &Worker) -> StageResult<()> {
        self.enter_worker(worker).await
    }

    async fn leave(&self, worker: &str) -> StageResult<()> {
        self.rows("delete a worker", "DELETE FROM workers WHERE id = $1", &[&worker]).await.map(drop)
    }

    async fn workers(&self) -> StageResult<Vec<WorkerRow>> {
        self.list_workers().await
    }

    async fn put_generation(&self, generation: &Generation) -> StageResult<i64> {
        self.store_generation(generation).await
    }

    async fn newest_generation(&self) -> StageResult<Option<i64>> {
        let rows = self.rows("read the configuration", NEWEST, &[]).await?;
        Ok(rows.first().map(|row| row.get(0)))
    }

    async fn generation(&self, number: i64) -> StageResult<Option<Generation>> {
        self.read_generation(number).await
    }

    async fn component(&self, digest: &str) -> StageResult<Option<Vec<u8>>> {
        self.read_component(digest).await
    }

    async fn answer_generation(&self, number: i64, worker: &str, refused: Option<String>) -> StageResult<()> {
        self.store_answer(number, worker, refused).await
    }

    async fn put(&self, fence: Fence, unit: NewUnit) -> StageResult<Placed> {
        self.put_unit(fence, &unit).await
    }

    async fn of_run(&self, run: &str, project: &str) -> StageResult<Vec<UnitNews>> {
        self.news_of_run(run, project).await
    }

    async fn clear(&self, fence: Fence, projects: &[String]) -> StageResult<()> {
        self.clear_units(fence, projects).await
    }

    async fn forget(&self, fence: Fence, units: Vec<i64>) -> StageResult<()> {
        self.forget_units(fence, units).await
    }

    async fn claim(&self, claim: &UnitClaim) -> StageResult<Vec<ClaimedUnit>> {
        self.claim_units(claim).await
    }

    async fn report(&self, fence: Fence, progress: &str) -> StageResult<()> {
        let sql = "UPDATE units SET progress = $2 WHERE epoch = $1";
        self.rows("report the progress of a unit", sql, &[&fence.epoch, &progress]).await.map(drop)
    }

    async fn finish(&self, fence: Fence, result: &str) -> StageResult<()> {
        self.finish_unit(fence, result).await
    }

    async fn put_back(&self, fence: Fence, why: PutBack) -> StageResult<()> {
        self.put_unit_back(fence, why).await
    }

    async fn list(&self, query: &UnitQuery) -> StageResult<Vec<UnitRow>> {
        self.list_units(query).await
    }

    async fn unit(&self, id: i64) -> StageResult<Option<UnitRow>> {
        self.read_unit(id).await
    }

    async fn settle(&self, id: i64, retry: bool) -> StageResult<bool> {
        self.settle_unit(id, retry).await
    }

    async fn counts(&self) -> StageResult<QueueCounts> {
        self.count_units().await
    }

    async fn clock(&self) -> StageResult<DateTime<Utc>> {
        let rows = self.rows("read the clock", "SELECT now()", &[]).await?;
        Ok(rows.first().map_or_else(Utc::now, |row| row.get(0)))
    }

    fn ready(&self) -> watch::Receiver<u64> {
        self.wake.ready(&self.pool)
    }

    fn adoptions(&self) -> watch::Receiver<u64> {
        self.wake.adopted(&self.pool)
    }

    fn news(&self) -> watch::Receiver<u64> {
        self.wake.news(&self.pool)
    }
}

/// A duration as statements take it, for `make_interval(secs => …)`.
fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
