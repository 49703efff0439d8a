//! Operators' side of the queue: lists, dead units, counts.

use super::super::store::{PostgresState, attempt};
use super::wake::{READY, notify};
use crate::model::StageResult;
use crate::postgres::{Arg, Failure, Row};
use crate::state::queue::{QueueCounts, UnitQuery, UnitRow, UnitState};

/// The columns of a unit.
pub(super) const UNIT: &str =
    "id, run, project, repository, state, attempts, created_at, changed_at, not_before, worker,
    reason, history::text";

impl PostgresState {
    /// Units, newest first.
    pub(super) async fn list_units(&self, query: &UnitQuery) -> StageResult<Vec<UnitRow>> {
        let UnitQuery { state, project, run, before, limit } = query;
        let sql = format!(
            "SELECT {UNIT} FROM units
             WHERE ($1::text IS NULL OR state = $1) AND ($2::text IS NULL OR project = $2)
                 AND ($3::text IS NULL OR run = $3) AND ($4::bigint IS NULL OR id < $4)
             ORDER BY id DESC LIMIT $5"
        );
        let limit = i64::try_from(*limit).unwrap_or(i64::MAX);
        let args: [&dyn Arg; 5] = [&state.map(UnitState::as_str), project, run, before, &limit];
        let rows = self.rows("list units", &sql, &args).await?;
        rows.iter().map(|row| self.readable(unit(row))).collect()
    }

    /// A unit by its number.
    pub(super) async fn read_unit(&self, id: i64) -> StageResult<Option<UnitRow>> {
        let sql = format!("SELECT {UNIT} FROM units WHERE id = $1");
        let rows = self.rows("read a unit", &sql, &[&id]).await?;
        rows.first().map(|row| self.readable(unit(row))).transpose()
    }

    /// Takes a dead unit out of the list of dead ones.
    pub(super) async fn settle_unit(&self, id: i64, retry: bool) -> StageResult<bool> {
        let sql = if retry {
            "DELETE FROM units WHERE id = $1 AND state IN ('dead', 'dropped')"
        } else {
            "UPDATE units SET state = 'dropped', changed_at = now() WHERE id = $1 AND state = 'dead'"
        };
        let settled: StageResult<u64> = attempt!(self, "settle a dead unit", self.begin_without_lease(), tx => {
            let settled = tx.run(sql, &[&id]).await?;
            notify(&tx, READY).await?;
            settled
        });
        Ok(settled? > 0)
    }

    /// Counts units by state.
    pub(super) async fn count_units(&self) -> StageResult<QueueCounts> {
        let sql = "SELECT count(*) FILTER (WHERE state = 'ready'), count(*) FILTER (WHERE state = 'running'),
                 count(*) FILTER (WHERE state = 'done'), count(*) FILTER (WHERE state = 'dead'),
                 count(*) FILTER (WHERE state = 'dropped'),
                 coalesce(extract(epoch FROM now() - min(greatest(created_at, not_before))
                     FILTER (WHERE state = 'ready' AND not_before <= now())), 0)::bigint,
                 (SELECT n FROM takeovers),
                 (SELECT coalesce(max(extract(epoch FROM now() - (until - lapse))), 0)::bigint FROM leases)
             FROM units";
        let rows = self.rows("count units", sql, &[]).await?;
        let Some(row) = rows.first() else { return Ok(QueueCounts::default()) };
        let number = |at: usize| row.get::<_, i64>(at).unsigned_abs();
        Ok(QueueCounts {
            ready: number(0),
            running: number(1),
            done: number(2),
            dead: number(3),
            dropped: number(4),
            oldest_ready_seconds: number(5),
            fenced: number(6),
            oldest_renewal_seconds: number(7),
        })
    }

    fn readable<T>(&self, read: Result<T, Failure>) -> StageResult<T> {
        read.map_err(|failure| self.tries("read a unit").error(failure))
    }
}

/// Reads the columns of a unit.
pub(super) fn unit(row: &Row) -> Result<UnitRow, Failure> {
    let state: String = row.get(4);
    let unreadable = |what: &str| Failure::Other(format!("the {what} of a unit cannot be read"));
    Ok(UnitRow {
        id: row.get(0),
        run: row.get(1),
        project: row.get(2),
        repository: row.get(3),
        state: UnitState::parse(&state).ok_or_else(|| unreadable("state"))?,
        attempts: row.get::<_, i32>(5).unsigned_abs(),
        created_at: row.get(6),
        changed_at: row.get(7),
        not_before: row.get(8),
        worker: row.get(9),
        reason: row.get(10),
        history: serde_json::from_str(row.get(11)).map_err(|_| unreadable("history"))?,
    })
}
