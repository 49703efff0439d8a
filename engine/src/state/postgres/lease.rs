//! Leases on projects: rows that their holder renews, and that others may replace once they have lapsed.
//!
//! A thread of its own renews them, so that a busy executor does not lose them. When a process dies, its leases lapse.

use std::fmt;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::store::{Broken, PostgresState};
use crate::model::{Running, StageResult};
use crate::postgres::{Failure, Pool};
use crate::state::fence::{Fence, Held, Lease, Scope};

/// How long a lease is valid without renewal.
pub(super) const LAPSE: &str = "45 seconds";
const RENEW: Duration = Duration::from_secs(10);
/// How long the end of a lease may take. If it takes longer, the lease lapses.
const END: Duration = Duration::from_secs(5);

/// Renews leases until they end.
pub(super) struct Keeper(UnboundedSender<Change>);

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keeper")
    }
}

/// A lease that begins or ends.
enum Change {
    Begin(i64),
    /// Answered when the server knows of it.
    End(i64, mpsc::Sender<()>),
}

impl Keeper {
    fn start(pool: Pool) -> Self {
        let (sender, mut receiver) = unbounded_channel();
        let keep = async move {
            let mut held: Vec<i64> = Vec::new();
            let mut renewals = tokio::time::interval(RENEW);
            loop {
                tokio::select! {
                    change = receiver.recv() => match change {
                        Some(Change::Begin(epoch)) => held.push(epoch),
                        Some(Change::End(epoch, answer)) => {
                            held.retain(|other| *other != epoch);
                            log(end(&pool, epoch).await);
                            // Nobody waits any more if it took too long.
                            answer.send(()).unwrap_or_default();
                        }
                        None => return,
                    },
                    _ = renewals.tick() => if !held.is_empty() {
                        log(renew(&pool, &held).await);
                    },
                }
            }
        };
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(keep),
                Err(error) => tracing::error!(%error, "leases cannot be renewed"),
            }
        };
        if let Err(error) = thread::Builder::new().name("leases".into()).spawn(run) {
            tracing::error!(%error, "leases cannot be renewed");
        }
        Self(sender)
    }
}

async fn renew(pool: &Pool, held: &[i64]) -> Result<(), Failure> {
    let sql = format!(
        "UPDATE leases SET until = now() + interval '{LAPSE}' WHERE epoch = ANY ($1) AND until > now()"
    );
    pool.get().await?.run(&sql, &[&held.to_vec()]).await.map(drop)
}

async fn end(pool: &Pool, epoch: i64) -> Result<(), Failure> {
    pool.get().await?.run("DELETE FROM leases WHERE epoch = $1", &[&epoch]).await.map(drop)
}

/// A failure needs no more: the next renewal comes before the lease lapses, and a lapsed lease is fenced.
fn log(done: Result<(), Failure>) {
    if let Err(failure) = done {
        tracing::warn!(%failure, "a lease could not be renewed or ended");
    }
}

/// Ends its lease when dropped.
struct Kept {
    epoch: i64,
    keeper: UnboundedSender<Change>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        let (answer, answered) = mpsc::channel();
        // Waits, so that who takes the lease next finds it free; the thread does not need this one's executor.
        if self.keeper.send(Change::End(self.epoch, answer)).is_ok() {
            answered.recv_timeout(END).unwrap_or_default();
        }
    }
}

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

    /// The epoch of the new lease, or who holds one.
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
            // A connection of its own: the others may all be at work.
            *keeper = Some(Keeper::start(Pool::new(self.pool.url().clone(), 1)?));
        }
        let keeper = keeper.as_ref().map(|keeper| keeper.0.clone());
        let keeper = keeper.ok_or_else(|| Failure::Other("no keeper of leases".into()))?;
        drop(keeper.send(Change::Begin(epoch)));
        Ok(Lease::new(Fence { scope: Scope::Project, epoch }, Arc::new(Kept { epoch, keeper })))
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
