//! Transactions.

use deadpool_postgres::Object;
use tokio_postgres::Row;

use super::pool::{rows, run};
use super::{Arg, Connection, Failure};

/// A transaction. Dropped without `commit`, it closes its connection, and the server undoes it: so it may be dropped
/// at any moment, also while a statement is under way.
pub(crate) struct Transaction {
    connection: Option<Object>,
}

impl Transaction {
    pub(super) async fn begin(Connection(connection): Connection, begin: &str) -> Result<Self, Failure> {
        let transaction = Self { connection: Some(connection) };
        transaction.batch(begin).await?;
        Ok(transaction)
    }

    /// Begins, and gives the row of a first statement, in one round trip.
    pub(super) async fn begin_with(
        Connection(connection): Connection,
        begin: &str,
        sql: &str,
        args: &[&dyn Arg],
    ) -> Result<(Self, Option<Row>), Failure> {
        let transaction = Self { connection: Some(connection) };
        let ((), row) = tokio::try_join!(transaction.batch(begin), transaction.row(sql, args))?;
        Ok((transaction, row))
    }

    /// The rows of a statement.
    pub(crate) async fn rows(&self, sql: &str, args: &[&dyn Arg]) -> Result<Vec<Row>, Failure> {
        rows(self.client()?, sql, args).await
    }

    /// The row of a statement that gives at most one.
    pub(crate) async fn row(&self, sql: &str, args: &[&dyn Arg]) -> Result<Option<Row>, Failure> {
        Ok(self.rows(sql, args).await?.into_iter().next())
    }

    /// The number of rows that a statement changed.
    pub(crate) async fn run(&self, sql: &str, args: &[&dyn Arg]) -> Result<u64, Failure> {
        run(self.client()?, sql, args).await
    }

    /// Runs several statements without parameters, separated by semicolons.
    pub(crate) async fn batch(&self, sql: &str) -> Result<(), Failure> {
        Ok(self.client()?.batch_execute(sql).await?)
    }

    /// Ends the transaction; the connection goes back to its pool.
    pub(crate) async fn commit(mut self) -> Result<(), Failure> {
        self.batch("COMMIT").await?;
        drop(self.connection.take());
        Ok(())
    }

    fn client(&self) -> Result<&tokio_postgres::Client, Failure> {
        let open =
            self.connection.as_ref().ok_or_else(|| Failure::Other("the transaction is over".into()))?;
        Ok(open)
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(Object::take(connection));
        }
    }
}
