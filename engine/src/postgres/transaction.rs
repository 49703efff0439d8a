//! Transactions.

use std::sync::atomic::{AtomicBool, Ordering};

use deadpool_postgres::Object;
use futures::FutureExt as _;
use tokio_postgres::{Client, Row};

use super::connection::{Connection, rows, run};
use super::{Arg, Failure};

/// Begins a transaction that may lock rows. The server ends it when no statement comes for this long: a process that was
/// stopped, or whose connection is silently gone, must not keep others from the rows. It is longer than anything that is
/// computed between two statements.
pub(crate) const BEGIN_TO_WRITE: &str = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '10s'";

/// The same for what may be lost, whole, if the server crashes within a second: the server's disk is not waited for.
pub(crate) const BEGIN_TO_WRITE_LAZILY: &str =
    "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '10s'; SET LOCAL synchronous_commit = off";

/// A transaction. Dropped without `commit`, it closes its connection, and the server undoes it: so it may be dropped
/// at any moment, also while a statement is under way.
pub(crate) struct Transaction {
    /// `None` once it is over.
    connection: Option<Object>,
    /// It only reads, so its end cannot fail.
    reads: bool,
    /// `COMMIT` was sent with the last statements.
    ends: AtomicBool,
}

impl Transaction {
    pub(super) async fn begin(Connection(connection): Connection, begin: &str) -> Result<Self, Failure> {
        let transaction = Self::over(connection, false);
        transaction.batch(begin).await?;
        Ok(transaction)
    }

    /// Begins a transaction that only reads. Its begin and its end are sent, and their answers not waited for: each would
    /// be a round trip. Where the connection is broken, the statements between fail.
    pub(super) fn begin_to_read(Connection(connection): Connection, begin: &str) -> Result<Self, Failure> {
        let transaction = Self::over(connection, true);
        transaction.send(begin)?;
        Ok(transaction)
    }

    /// Begins, and does not wait for the answer, which would be a round trip. If the begin fails, so does every statement
    /// that follows.
    pub(super) fn begin_unanswered(Connection(connection): Connection, begin: &str) -> Result<Self, Failure> {
        let transaction = Self::over(connection, false);
        transaction.send(begin)?;
        Ok(transaction)
    }

    /// Begins, and gives the row of a first statement, in one round trip.
    pub(super) async fn begin_with(
        Connection(connection): Connection,
        begin: &str,
        sql: &str,
        args: &[&dyn Arg],
    ) -> Result<(Self, Option<Row>), Failure> {
        let transaction = Self::over(connection, false);
        let ((), row) = futures::try_join!(transaction.batch(begin), transaction.row(sql, args))?;
        Ok((transaction, row))
    }

    fn over(connection: Object, reads: bool) -> Self {
        Self { connection: Some(connection), reads, ends: AtomicBool::new(false) }
    }

    /// The rows of a statement.
    pub(crate) fn rows<'a>(
        &'a self,
        sql: &'a str,
        args: &[&'a dyn Arg],
    ) -> impl Future<Output = Result<Vec<Row>, Failure>> + Send + use<'a> {
        rows(self.client(), sql, args)
    }

    /// The row of a statement that gives at most one.
    pub(crate) fn row<'a>(
        &'a self,
        sql: &'a str,
        args: &[&'a dyn Arg],
    ) -> impl Future<Output = Result<Option<Row>, Failure>> + Send + use<'a> {
        let rows = self.rows(sql, args);
        async move { Ok(rows.await?.into_iter().next()) }
    }

    /// The number of rows that a statement changed.
    pub(crate) fn run<'a>(
        &'a self,
        sql: &'a str,
        args: &[&'a dyn Arg],
    ) -> impl Future<Output = Result<u64, Failure>> + Send + use<'a> {
        run(self.client(), sql, args)
    }

    /// Runs several statements without parameters, separated by semicolons.
    pub(crate) async fn batch(&self, sql: &str) -> Result<(), Failure> {
        Ok(self.client()?.batch_execute(sql).await?)
    }

    /// Sends `COMMIT` in the same flight as the last statements, for `futures::try_join!`, which saves a round trip. If one
    /// of them fails, the server undoes everything. [`Transaction::commit`] then has nothing left to send.
    pub(crate) async fn end(&self) -> Result<(), Failure> {
        self.ends.store(true, Ordering::Relaxed);
        self.batch("COMMIT").await
    }

    /// Ends the transaction; the connection goes back to its pool.
    pub(crate) async fn commit(mut self) -> Result<(), Failure> {
        if self.reads {
            self.send("COMMIT")?;
        } else if !self.ends.load(Ordering::Relaxed) {
            self.batch("COMMIT").await?;
        }
        drop(self.connection.take());
        Ok(())
    }

    /// Sends statements without waiting for the answer. What is sent next comes after them.
    fn send(&self, sql: &str) -> Result<(), Failure> {
        match self.batch(sql).now_or_never() {
            Some(done) => done,
            None => Ok(()),
        }
    }

    fn client(&self) -> Result<&Client, Failure> {
        match &self.connection {
            Some(connection) => Ok(connection),
            None => Err(Failure::Other("the transaction is over".into())),
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(Object::take(connection));
        }
    }
}
