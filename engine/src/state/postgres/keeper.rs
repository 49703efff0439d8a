//! Renews the leases of this process in a separate thread, so that a busy executor does not lose them. When the process
//! dies, they lapse.

use std::fmt;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::postgres::{Failure, Pool};

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
    /// `pool`: a connection that nothing else uses.
    pub(super) fn start(pool: Pool) -> Self {
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
                            // The waiting ended if it took too long.
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

    /// Renews a lease until the result is dropped.
    pub(super) fn keep(&self, epoch: i64) -> Kept {
        // Without the thread, which is logged, the lease lapses.
        self.0.send(Change::Begin(epoch)).unwrap_or_default();
        Kept { epoch, keeper: self.0.clone() }
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
pub(super) struct Kept {
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
