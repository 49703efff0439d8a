//! Connections.

use std::fmt;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, RecyclingMethod, Runtime};
use tokio_postgres::NoTls;
use tokio_postgres::{Client, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::transaction::Transaction;
use super::{Arg, Failure, PostgresUrl};
use crate::net;

/// How long to wait for a connection of the pool.
const WAIT: Duration = Duration::from_secs(60);

/// Connections to one database. Clones share them.
#[derive(Clone)]
pub(crate) struct Pool {
    pool: deadpool_postgres::Pool,
    url: PostgresUrl,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pool").field(&self.url).finish()
    }
}

impl Pool {
    /// A pool of at most `size` connections. Connects when the first one is needed.
    pub(crate) fn new(url: PostgresUrl, size: usize) -> Result<Self, Failure> {
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = if url.is_encrypted() {
            let tls = net::client_config().map_err(|error| Failure::Other(error.to_string()))?;
            Manager::from_config(url.config().clone(), MakeRustlsConnect::new(tls), recycling)
        } else {
            Manager::from_config(url.config().clone(), NoTls, recycling)
        };
        let pool = deadpool_postgres::Pool::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(WAIT))
            .build()
            .map_err(|error| Failure::Other(error.to_string()))?;
        Ok(Self { pool, url })
    }

    /// The database's address.
    pub(crate) fn url(&self) -> &PostgresUrl {
        &self.url
    }

    /// A connection for single statements.
    pub(crate) async fn get(&self) -> Result<Connection, Failure> {
        Ok(Connection(self.pool.get().await?))
    }

    /// Begins a transaction. `begin` is its first statement, such as `BEGIN`.
    pub(crate) async fn begin(&self, begin: &str) -> Result<Transaction, Failure> {
        Transaction::begin(self.get().await?, begin).await
    }

    /// Begins a transaction, and gives the row of a first statement, in one round trip.
    pub(crate) async fn begin_with(
        &self,
        begin: &str,
        sql: &str,
        args: &[&dyn Arg],
    ) -> Result<(Transaction, Option<Row>), Failure> {
        Transaction::begin_with(self.get().await?, begin, sql, args).await
    }
}

/// A connection of the pool; it goes back when dropped.
pub(crate) struct Connection(pub(super) Object);

impl Connection {
    /// The rows of a statement.
    pub(crate) async fn rows(&self, sql: &str, args: &[&dyn Arg]) -> Result<Vec<Row>, Failure> {
        rows(&self.0, sql, args).await
    }

    /// The row of a statement that gives at most one.
    pub(crate) async fn row(&self, sql: &str, args: &[&dyn Arg]) -> Result<Option<Row>, Failure> {
        Ok(self.rows(sql, args).await?.into_iter().next())
    }

    /// The number of rows that a statement changed.
    pub(crate) async fn run(&self, sql: &str, args: &[&dyn Arg]) -> Result<u64, Failure> {
        run(&self.0, sql, args).await
    }

    /// Runs several statements without parameters, separated by semicolons.
    pub(crate) async fn batch(&self, sql: &str) -> Result<(), Failure> {
        Ok(self.0.batch_execute(sql).await?)
    }
}

pub(super) async fn rows(client: &Client, sql: &str, args: &[&dyn Arg]) -> Result<Vec<Row>, Failure> {
    let typed: Vec<_> = args.iter().map(|arg| (arg.value(), arg.sql_type())).collect();
    Ok(client.query_typed(sql, &typed).await?)
}

pub(super) async fn run(client: &Client, sql: &str, args: &[&dyn Arg]) -> Result<u64, Failure> {
    let typed: Vec<_> = args.iter().map(|arg| (arg.value(), arg.sql_type())).collect();
    Ok(client.execute_typed(sql, &typed).await?)
}
