//! The run's side of the queue.

use super::super::store::{PostgresState, text, write};
use super::operate::{UNIT, unit};
use super::wake::{READY, notify};
use crate::model::StageResult;
use crate::postgres::{Failure, Transaction};
use crate::state::fence::Fence;
use crate::state::queue::{NewUnit, Placed, UnitNews, UnitState};

impl PostgresState {
    /// Puts a unit into the queue, unless the same work is dead.
    pub(super) async fn put_unit(&self, fence: Fence, new: &NewUnit) -> StageResult<Placed> {
        let dead = format!(
            "SELECT {UNIT} FROM units WHERE project = $1 AND repository = $2 AND state IN ('dead', 'dropped')
                 AND digest = $3"
        );
        write!(self, fence, "put a unit into the queue", tx => {
            if let Some(row) = tx.row(&dead, &[&new.project, &new.repository, &new.digest]).await? {
                Placed::Dead(unit(&row)?)
            } else {
                Placed::Queued(insert(&tx, new).await?)
            }
        })
    }

    /// What is known of a run's units.
    pub(super) async fn news_of_run(&self, run: &str, project: &str) -> StageResult<Vec<UnitNews>> {
        let sql = "SELECT id, state, progress, result, reason FROM units
             WHERE run = $1 AND project = $2 AND (state IN ('done', 'dead', 'dropped') OR progress IS NOT NULL) ORDER BY id";
        let rows = self.rows("read the units of a run", sql, &[&run, &project]).await?;
        Ok(rows
            .iter()
            .filter_map(|row| {
                Some(UnitNews {
                    id: row.get(0),
                    state: UnitState::parse(row.get(1))?,
                    progress: row.get(2),
                    result: row.get(3),
                    reason: row.get(4),
                })
            })
            .collect())
    }

    /// Deletes units, whoever works on them.
    pub(super) async fn clear_units(&self, fence: Fence, projects: &[String]) -> StageResult<()> {
        let projects = projects.to_vec();
        let chosen = "($1 = '{}' OR project = ANY ($1)) AND state IN ('ready', 'running', 'done')";
        // Waits for the transaction that a holder may have open: what it commits comes before, and later ones
        // are fenced.
        let leases = format!("DELETE FROM leases WHERE unit IN (SELECT id FROM units WHERE {chosen})");
        let units = format!("DELETE FROM units WHERE {chosen}");
        write!(self, fence, "clear the queue", tx => {
            futures::try_join!(tx.run(&leases, &[&projects]), tx.run(&units, &[&projects]), tx.end())?;
        })
    }

    /// Deletes units that ended.
    pub(super) async fn forget_units(&self, fence: Fence, units: Vec<i64>) -> StageResult<()> {
        write!(self, fence, "delete ended units", tx => {
            tx.run("DELETE FROM units WHERE id = ANY ($1) AND state = 'done'", &[&units]).await?;
        })
    }
}

/// Puts a unit in the place of one that is not done.
async fn insert(tx: &Transaction, new: &NewUnit) -> Result<i64, Failure> {
    let earlier = "DELETE FROM units WHERE project = $1 AND repository = $2 AND state <> 'done'";
    tx.run(earlier, &[&new.project, &new.repository]).await?;
    let row = tx
        .row(
            "INSERT INTO units (run, project, repository, generation, digest, task)
             VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
            &[&new.run, &new.project, &new.repository, &new.generation, &new.digest, &text(&new.task)],
        )
        .await?;
    notify(tx, READY).await?;
    Ok(row.ok_or_else(|| Failure::Other("no number of a new unit".into()))?.get(0))
}
