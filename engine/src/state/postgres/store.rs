//! The state over a pool of connections: transactions, and trying again.
//!
//! What is deleted because of its age must be old by the server's clock, too: a process whose clock is ahead would delete
//! what all others still need.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::broken::Broken;
use super::keeper::Keeper;
use super::queue::wake::Wake;
use super::schema;
use crate::model::{StageError, StageResult, WorkerSettings};
use crate::postgres::{
    Arg, BEGIN_TO_WRITE, Failure, Pool, PostgresUrl, Row, Transaction, failed, is_transient,
};
use crate::state::STAGE;
use crate::state::fence::Fence;

/// How long a transaction is tried again while the server is away. A restart or a failover takes less.
const PATIENCE: Duration = Duration::from_secs(300);
/// The same for the first transaction of a process: the server may be starting, but the address may also be wrong.
const PATIENCE_AT_FIRST: Duration = Duration::from_secs(60);
/// The pauses between two attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// One snapshot for all statements of a read.
const READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Whether the user may borrow from what services allow. A standby, too, can only be read.
const MAY_BORROW: &str = "SELECT current_setting('transaction_read_only') = 'off' AND (
         SELECT bool_and(has_table_privilege(name, privilege))
         FROM unnest(ARRAY['allowances', 'allowance_calls']) AS name,
             unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege)";

/// The state in a PostgreSQL database.
#[derive(Debug)]
pub struct PostgresState {
    pub(super) pool: Pool,
    /// How long its leases last, except for those on units.
    pub(super) leases: Mutex<WorkerSettings>,
    /// Renews the leases of this process; started with the first of them.
    pub(super) keeper: Mutex<Option<Keeper>>,
    /// Wakes those who wait for the queue.
    pub(super) wake: Wake,
    /// Whether this process may borrow from the allowances; one that may only read counts for itself.
    pub(super) borrows: bool,
}

/// Runs `$body` in the transaction that `$begin` begins, again after each failure that may pass. `$what` completes
/// "cannot …" in the error.
macro_rules! attempt {
    ($state:expr, $what:literal, $begin:expr, $tx:ident => $body:expr) => {
        crate::state::postgres::store::attempt!($state.tries($what), $begin, $tx => $body)
    };
    ($tries:expr, $begin:expr, $tx:ident => $body:expr) => {{
        let mut tries = $tries;
        loop {
            let attempt = async {
                let $tx = $begin.await?;
                let done = $body;
                $tx.commit().await?;
                Ok::<_, crate::state::postgres::broken::Broken>(done)
            };
            match attempt.await {
                Ok(done) => break Ok(done),
                Err(broken) => tries.after(broken).await?,
            }
        }
    }};
}

/// A transaction of the lease's holder: all of the body, durably, or nothing of it.
macro_rules! write {
    ($state:expr, $fence:expr, $what:literal, $tx:ident => $body:expr) => {
        crate::state::postgres::store::attempt!($state.tries($what).under($fence), $state.begin($fence), $tx => $body)
    };
}

/// A read of one snapshot.
macro_rules! read {
    ($state:expr, $what:literal, $tx:ident => $body:expr) => {
        crate::state::postgres::store::attempt!($state, $what, $state.snapshot(), $tx => $body)
    };
}

pub(super) use {attempt, read, write};

impl PostgresState {
    /// Opens a database for writing; creates or migrates its tables where needed. Waits for a minute while the server is
    /// away.
    pub(crate) async fn open(url: &PostgresUrl, connections: usize) -> StageResult<Self> {
        let state = Self::over(url, connections)?;
        state.migrate().await?;
        Ok(state)
    }

    /// Opens a database for reading. `None`: it holds no tables yet. Waits for a minute for a server that answers that it
    /// cannot serve yet; one that does not answer is an error at once, as somebody waits for what is read.
    pub(crate) async fn open_to_read(url: &PostgresUrl, connections: usize) -> StageResult<Option<Self>> {
        let state = Self::over(url, connections)?;
        if !state.is_there().await? {
            return Ok(None);
        }
        let may_borrow = state.rows("look for privileges", MAY_BORROW, &[]).await?;
        let borrows = may_borrow.first().is_some_and(|row| row.get(0));
        Ok(Some(Self { borrows, ..state }))
    }

    async fn migrate(&self) -> StageResult<()> {
        let mut tries = Tries { patience: PATIENCE_AT_FIRST, ..self.tries("create the tables") };
        loop {
            match schema::migrate(&self.pool).await {
                Ok(migrated) => return migrated,
                Err(failure) => tries.after(failure.into()).await?,
            }
        }
    }

    async fn is_there(&self) -> StageResult<bool> {
        let mut tries = Tries { patience: PATIENCE_AT_FIRST, ..self.tries("read the version of the tables") };
        loop {
            match schema::is_there(&self.pool).await {
                Ok(is_there) => return is_there,
                Err(failure) if failure.code().is_none() => return Err(tries.error(failure)),
                Err(failure) => tries.after(failure.into()).await?,
            }
        }
    }

    /// The state in a database whose tables exist. Connects when the first call is made.
    pub(super) fn over(url: &PostgresUrl, connections: usize) -> StageResult<Self> {
        let pool = Pool::new(url.clone(), connections)
            .map_err(|failure| failed(STAGE, url, "open connections", failure))?;
        Ok(Self {
            pool,
            leases: Mutex::default(),
            keeper: Mutex::default(),
            wake: Wake::new(url.listens()),
            borrows: true,
        })
    }

    /// The rows of a single statement, which must do no harm if it is run twice.
    pub(super) async fn rows(
        &self,
        what: &'static str,
        sql: &str,
        args: &[&dyn Arg],
    ) -> StageResult<Vec<Row>> {
        let mut tries = self.tries(what);
        loop {
            let attempt = async { self.pool.get().await?.rows(sql, args).await };
            match attempt.await {
                Ok(rows) => return Ok(rows),
                Err(failure) => tries.after(failure.into()).await?,
            }
        }
    }

    /// Begins a transaction of the lease's holder. While it is open, the lease cannot be taken over. Whether it is held is
    /// found out on the way: otherwise its first statement fails, and nothing of it is done.
    pub(super) async fn begin(&self, fence: Fence) -> Result<Transaction, Broken> {
        let held = held(fence, " FOR KEY SHARE");
        let begin = format!("{BEGIN_TO_WRITE}; SELECT 1 / count(*) FROM ({held}) AS held");
        Ok(self.pool.begin_unanswered(&begin).await?)
    }

    /// Begins a transaction that needs no lease, unless a newer program has taken the database over.
    pub(super) async fn begin_without_lease(&self) -> Result<Transaction, Broken> {
        let (tx, row) = self.pool.begin_with(BEGIN_TO_WRITE, schema::FOUND, &[]).await?;
        schema::expect(row.as_ref())?;
        Ok(tx)
    }

    /// A number for a lease that is about to be taken. It is drawn before, so that a lease is known again when the
    /// answer to its transaction was lost.
    pub(super) async fn draw_epoch(&self) -> StageResult<i64> {
        let rows = self.rows("number a lease", "SELECT nextval('epochs')", &[]).await?;
        Ok(rows.first().map_or(0, |row| row.get(0)))
    }

    pub(super) async fn snapshot(&self) -> Result<Transaction, Broken> {
        Ok(self.pool.begin_to_read(READ).await?)
    }

    pub(super) fn tries(&self, what: &'static str) -> Tries<'_> {
        Tries::new(&self.pool, what)
    }
}

/// A statement that gives a row while a lease is held.
fn held(fence: Fence, lock: &str) -> String {
    format!("SELECT 1 FROM leases WHERE epoch = {} AND until > now(){lock}", fence.epoch)
}

/// The attempts at one transaction.
pub(super) struct Tries<'a> {
    pool: &'a Pool,
    what: &'static str,
    /// Of the lease that the transaction needs.
    fence: Option<Fence>,
    began: Instant,
    patience: Duration,
    pause: Duration,
}

impl<'a> Tries<'a> {
    /// `what` completes "cannot …" in the error.
    pub(super) fn new(pool: &'a Pool, what: &'static str) -> Self {
        Self { pool, what, fence: None, began: Instant::now(), patience: PATIENCE, pause: FIRST_PAUSE }
    }

    /// The same for a transaction that needs a lease.
    pub(super) fn under(self, fence: Fence) -> Self {
        Self { fence: Some(fence), ..self }
    }

    /// Waits for the next attempt; the error if there is none.
    pub(super) async fn after(&mut self, broken: Broken) -> StageResult<()> {
        let failure = match broken {
            Broken::Migrated(found) => return Err(schema::migrated(self.pool.url(), found)),
            Broken::Failed(failure) => failure,
        };
        if failure.follows_another() && self.is_lost().await {
            return Err(Fence::lost());
        }
        if !is_transient(&failure) || self.began.elapsed() > self.patience {
            return Err(self.error(failure));
        }
        tracing::warn!(database = %self.pool.url(), what = self.what, %failure, pause = ?self.pause,
            "the database did not answer; trying again");
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }

    pub(super) fn error(&self, failure: Failure) -> StageError {
        failed(STAGE, self.pool.url(), self.what, failure)
    }

    /// Whether the lease that the transaction needs is known to be lost.
    async fn is_lost(&self) -> bool {
        let Some(fence) = self.fence else { return false };
        let sql = held(fence, "");
        let ask = async { self.pool.get().await?.row(&sql, &[]).await };
        matches!(ask.await, Ok(None))
    }
}

/// Text as the server can store it: without zero bytes.
pub(super) fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A value as JSON that the server can store: without zero bytes.
pub(super) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default().replace("\\u0000", "\\ufffd")
}
