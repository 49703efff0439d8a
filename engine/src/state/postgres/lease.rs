//! Leases on projects: rows that their holder renews, and that others may replace once they have lapsed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::broken::Broken;
use super::keeper::{Keeper, Kept, Renewed};
use super::schema;
use super::store::PostgresState;
use super::suspects::end_lapsed;
use crate::model::{Running, StageResult, WorkerSettings};
use crate::postgres::{BEGIN_TO_WRITE, Failure, Pool};
use crate::state::fence::{Fence, Held, Lease, Term};

impl PostgresState {
    /// Takes a lease on projects; the holder if another one has a lease on any of them.
    pub(super) async fn take_lease(&self, projects: &[String]) -> StageResult<Result<Lease, Held>> {
        let WorkerSettings { lease: lapse, renew, grace, stuck, .. } = *self.leases.lock();
        let number = self.draw_epoch().await?;
        let mut tries = self.tries("take the lease");
        let (taken, sent) = loop {
            let sent = Instant::now();
            match self.try_lease(number, projects, lapse).await {
                Ok(taken) => break (taken, sent),
                Err(broken) => tries.after(broken).await?,
            }
        };
        let epoch = match taken {
            Ok(epoch) => epoch,
            Err(holder) => return Ok(Err(Held(Some(holder)))),
        };
        let term = Term::new(sent + lapse, grace, stuck);
        let renewed = Renewed { epoch, term: term.clone(), lapse, renew, waits: true };
        let kept = self.keep(renewed).map_err(|failure| tries.error(failure))?;
        Ok(Ok(Lease::new(Fence { epoch }, Some(term), Arc::new(kept))))
    }

    /// The epoch of the new lease, or the holder of another one.
    async fn try_lease(
        &self,
        number: i64,
        projects: &[String],
        lapse: Duration,
    ) -> Result<Result<i64, Running>, Broken> {
        let tx = self.pool.begin(BEGIN_TO_WRITE).await?;
        // One after the other; readers of leases are not kept waiting. A migration also takes leases.
        tx.batch("LOCK TABLE leases IN SHARE ROW EXCLUSIVE MODE").await?;
        schema::expect(tx.row(schema::FOUND, &[]).await?.as_ref())?;
        end_lapsed(&tx).await?;
        let held = tx
            .row(
                "SELECT process, since FROM leases
                 WHERE unit IS NULL AND role IS NULL AND epoch <> $2
                     AND (projects = '{}' OR $1 = '{}' OR projects && $1) ORDER BY since LIMIT 1",
                &[&projects.to_vec(), &number],
            )
            .await?;
        if let Some(row) = held {
            tx.commit().await?;
            return Ok(Err(running(&row)));
        }
        // It is there already if the answer to an attempt was lost.
        let sql = "INSERT INTO leases (projects, process, lapse, until, epoch)
             VALUES ($1, $2, make_interval(secs => $3), now() + make_interval(secs => $3), $4)
             ON CONFLICT (epoch) DO UPDATE SET until = excluded.until RETURNING epoch";
        let process = i64::from(std::process::id());
        let row = tx.row(sql, &[&projects.to_vec(), &process, &lapse.as_secs_f64(), &number]).await?;
        let epoch = row.ok_or_else(|| Failure::Other("no number of a new lease".into()))?.get(0);
        tx.commit().await?;
        Ok(Ok(epoch))
    }

    /// Renews a lease until the result is dropped.
    pub(super) fn keep(&self, renewed: Renewed) -> Result<Kept, Failure> {
        let mut keeper = self.keeper.lock();
        if keeper.is_none() {
            // A separate connection: the others may all be at work.
            *keeper = Some(Keeper::start(Pool::new(self.pool.url().clone(), 1)?));
        }
        let keeper = keeper.as_ref().ok_or_else(|| Failure::Other("no keeper of leases".into()))?;
        Ok(keeper.keep(renewed))
    }

    /// A process that holds a lease.
    pub(super) async fn lease_holder(&self) -> StageResult<Option<Running>> {
        let sql = "SELECT process, since FROM leases WHERE unit IS NULL AND role IS NULL AND until > now() ORDER BY since LIMIT 1";
        Ok(self.rows("read the leases", sql, &[]).await?.first().map(running))
    }
}

fn running(row: &crate::postgres::Row) -> Running {
    Running { process: u32::try_from(row.get::<_, i64>(0)).unwrap_or_default(), since: row.get(1) }
}
