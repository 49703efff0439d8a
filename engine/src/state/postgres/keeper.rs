//! Renews the leases of this process in a separate thread, so that a busy executor does not lose them. When the process
//! dies, they lapse.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::Instant;

use crate::postgres::{Failure, Pool};
use crate::state::Term;

/// How often leases are looked at.
const TICK: Duration = Duration::from_millis(500);
/// How long the end of a lease may take. If it takes longer, the lease lapses.
const END: Duration = Duration::from_secs(5);

/// Renews leases until they end.
pub(super) struct Keeper(UnboundedSender<Change>);

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keeper")
    }
}

/// A lease to be renewed.
pub(super) struct Renewed {
    pub(super) epoch: i64,
    pub(super) term: Term,
    /// How long it is valid after each renewal.
    pub(super) lapse: Duration,
    /// How often it is renewed; more often if it is valid for less than four times as long.
    pub(super) renew: Duration,
    /// Whether its end is waited for, so that it is free at once.
    pub(super) waits: bool,
}

impl Renewed {
    fn pause(&self) -> Duration {
        self.renew.min(self.lapse / 4)
    }
}

/// A lease that begins or ends.
enum Change {
    Begin(Renewed),
    /// Answered when the server knows of it.
    End(i64, Option<mpsc::Sender<()>>),
}

/// A lease that is held, and the time of its next renewal.
struct Lease {
    renewed: Renewed,
    due: Instant,
}

impl Lease {
    fn new(renewed: Renewed, now: Instant) -> Self {
        Self { due: now + renewed.pause(), renewed }
    }
}

impl Keeper {
    /// `pool`: a connection that nothing else uses.
    pub(super) fn start(pool: Pool) -> Self {
        let (sender, mut receiver) = unbounded_channel();
        let keep = async move {
            let mut held: BTreeMap<i64, Lease> = BTreeMap::new();
            let mut ticks = tokio::time::interval(TICK);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    change = receiver.recv() => match change {
                        Some(Change::Begin(renewed)) => {
                            held.insert(renewed.epoch, Lease::new(renewed, Instant::now()));
                        }
                        Some(Change::End(epoch, answer)) => {
                            held.remove(&epoch);
                            log(end(&pool, epoch).await);
                            if let Some(answer) = answer {
                                // The waiting ended if it took too long.
                                answer.send(()).unwrap_or_default();
                            }
                        }
                        None => return,
                    },
                    _ = ticks.tick() => log(renew(&pool, &mut held).await),
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
    pub(super) fn keep(&self, renewed: Renewed) -> Kept {
        let (epoch, waits) = (renewed.epoch, renewed.waits);
        // Without the thread, which is logged, the lease lapses.
        self.0.send(Change::Begin(renewed)).unwrap_or_default();
        Kept { epoch, waits, keeper: self.0.clone() }
    }
}

/// Renews the leases that are due. One that was taken over is renewed no more.
async fn renew(pool: &Pool, held: &mut BTreeMap<i64, Lease>) -> Result<(), Failure> {
    let now = Instant::now();
    // Where the work goes on after all, it finds its lease lost.
    held.retain(|epoch, lease| {
        let is_stuck = lease.renewed.term.is_stuck();
        if is_stuck {
            tracing::error!(epoch, "work makes no progress; its lease is not renewed any more");
        }
        !is_stuck
    });
    let due: Vec<i64> = held.iter().filter(|(_, lease)| lease.due <= now).map(|(epoch, _)| *epoch).collect();
    if due.is_empty() {
        return Ok(());
    }
    let sql =
        "UPDATE leases SET until = now() + lapse WHERE epoch = ANY ($1) AND until > now() RETURNING epoch";
    let rows = pool.get().await?.rows(sql, &[&due]).await?;
    let renewed: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    for epoch in due {
        if renewed.contains(&epoch) {
            if let Some(lease) = held.get_mut(&epoch) {
                lease.renewed.term.extend(now + lease.renewed.lapse);
                lease.due = now + lease.renewed.pause();
            }
        } else if let Some(lost) = held.remove(&epoch) {
            lost.renewed.term.end();
        }
    }
    Ok(())
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
    waits: bool,
    keeper: UnboundedSender<Change>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        let (answer, answered) = mpsc::channel();
        let sent = self.keeper.send(Change::End(self.epoch, self.waits.then_some(answer)));
        // Waits, so that who takes the lease next finds it free; the thread does not need this one's executor.
        if self.waits && sent.is_ok() {
            answered.recv_timeout(END).unwrap_or_default();
        }
    }
}
