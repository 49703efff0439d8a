//! Leases on projects: rows that their holder renews, and that others may replace once they have lapsed.

use std::sync::Arc;

use super::keeper::{Keeper, LAPSE};
use super::store::{Broken, PostgresState};
use crate::model::{Running, StageResult};
use crate::postgres::{Failure, Pool};
use crate::state::fence::{Fence, Held, Lease, Scope};

impl PostgresState {
    /// Takes a lease on projects; the holder if another one has a lease on any of them.
    pub(super) async fn take_lease(&self, projects: &[String]) -> StageResult<Result<Lease, Held>> {
        let mut tries = self.tries("take the lease");
        let taken = loop {
            match self.try_lease(projects).await {
                Ok(taken) => break taken,
                Err(broken) => tries.after(broken).await?,
            }
        };
        match taken {
            Ok(epoch) => Ok(Ok(self.kept(epoch).map_err(|failure| tries.error(failure))?)),
            Err(holder) => Ok(Err(Held(Some(holder)))),
        }
    }

    /// The epoch of the new lease, or the holder of another one.
    async fn try_lease(&self, projects: &[String]) -> Result<Result<i64, Running>, Broken> {
        let tx = self.pool.begin("BEGIN").await?;
        // One after the other; readers of leases are not kept waiting.
        tx.batch("LOCK TABLE leases IN SHARE ROW EXCLUSIVE MODE").await?;
        // One that is locked belongs to a transaction that is still open: it is held.
        tx.run(
            "DELETE FROM leases WHERE epoch IN (
                 SELECT epoch FROM leases WHERE until <= now() FOR UPDATE SKIP LOCKED)",
            &[],
        )
        .await?;
        let held = tx
            .row(
                "SELECT process, since FROM leases
                 WHERE projects = '{}' OR $1 = '{}' OR projects && $1 ORDER BY since LIMIT 1",
                &[&projects.to_vec()],
            )
            .await?;
        if let Some(row) = held {
            tx.commit().await?;
            return Ok(Err(running(&row)));
        }
        let sql = format!(
            "INSERT INTO leases (projects, process, until) VALUES ($1, $2, now() + interval '{LAPSE}')
             RETURNING epoch"
        );
        let row = tx.row(&sql, &[&projects.to_vec(), &i64::from(std::process::id())]).await?;
        let epoch = row.ok_or_else(|| Failure::Other("no number of a new lease".into()))?.get(0);
        tx.commit().await?;
        Ok(Ok(epoch))
    }

    fn kept(&self, epoch: i64) -> Result<Lease, Failure> {
        let mut keeper = self.keeper.lock();
        if keeper.is_none() {
            // A separate connection: the others may all be at work.
            *keeper = Some(Keeper::start(Pool::new(self.pool.url().clone(), 1)?));
        }
        let keeper = keeper.as_ref().ok_or_else(|| Failure::Other("no keeper of leases".into()))?;
        Ok(Lease::new(Fence { scope: Scope::Project, epoch }, Arc::new(keeper.keep(epoch))))
    }

    /// A process that holds a lease.
    pub(super) async fn lease_holder(&self) -> StageResult<Option<Running>> {
        let sql = "SELECT process, since FROM leases WHERE until > now() ORDER BY since LIMIT 1";
        Ok(self.rows("read the leases", sql, &[]).await?.first().map(running))
    }
}

fn running(row: &crate::postgres::Row) -> Running {
    Running { process: u32::try_from(row.get::<_, i64>(0)).unwrap_or_default(), since: row.get(1) }
}
