//! Workers: who is there.

use super::super::store::PostgresState;
use crate::model::StageResult;
use crate::postgres::Row;
use crate::state::queue::{Worker, WorkerRow};

/// A worker that was not seen for this long is gone.
const GONE: &str = "1 minute";
/// Its row is kept for this long, with its answers to generations.
const FORGOTTEN: &str = "1 day";

impl PostgresState {
    /// Records that a worker is there.
    pub(super) async fn enter_worker(&self, worker: &Worker) -> StageResult<()> {
        let sql = format!(
            "WITH gone AS (DELETE FROM workers WHERE seen < now() - interval '{FORGOTTEN}' AND id <> $1)
             INSERT INTO workers (id, label, version, capacity) VALUES ($1, $2, $3, $4)
             ON CONFLICT (id) DO UPDATE SET seen = now(), capacity = excluded.capacity"
        );
        let capacity = i32::try_from(worker.units).unwrap_or(i32::MAX);
        let args: [&dyn crate::postgres::Arg; 4] = [&worker.id, &worker.label, &worker.version, &capacity];
        self.rows("record a worker", &sql, &args).await.map(drop)
    }

    /// The workers that are there.
    pub(super) async fn list_workers(&self) -> StageResult<Vec<WorkerRow>> {
        let sql = format!(
            "SELECT id, label, version, since, seen, capacity,
                 (SELECT count(*) FROM leases WHERE unit IS NOT NULL AND split_part(claim, ' ', 1) = workers.id),
                 (SELECT refused FROM generation_answers WHERE worker = workers.id ORDER BY generation DESC LIMIT 1)
             FROM workers WHERE seen > now() - interval '{GONE}' ORDER BY since, id"
        );
        Ok(self.rows("list workers", &sql, &[]).await?.iter().map(worker).collect())
    }
}

fn worker(row: &Row) -> WorkerRow {
    WorkerRow {
        id: row.get(0),
        label: row.get(1),
        version: row.get(2),
        since: row.get(3),
        seen: row.get(4),
        capacity: row.get::<_, i32>(5).unsigned_abs(),
        running: u32::try_from(row.get::<_, i64>(6)).unwrap_or(u32::MAX),
        refused: row.get(7),
    }
}
