//! A pool of connections to one database.

use std::fmt;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, RecyclingMethod, Runtime};
use tokio_postgres::{NoTls, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connection::Connection;
use super::transaction::{BEGIN_TO_WRITE_LAZILY, Transaction};
use super::{Arg, Failure, PostgresUrl};
use crate::net;

/// How long to wait for a connection of the pool.
const WAIT: Duration = Duration::from_secs(60);
/// How long the server may take to be ready for statements on a new connection.
pub(super) const READY: Duration = Duration::from_secs(20);

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
        Self::ready_within(READY, url, size)
    }

    fn ready_within(ready: Duration, url: PostgresUrl, size: usize) -> Result<Self, Failure> {
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
            .create_timeout(Some(ready))
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

    /// Begins a transaction that only reads, with a first statement such as `BEGIN READ ONLY`.
    pub(crate) async fn begin_to_read(&self, begin: &str) -> Result<Transaction, Failure> {
        Transaction::begin_to_read(self.get().await?, begin)
    }

    /// Begins a transaction with statements whose answers are not waited for: if one of them fails, so does every statement
    /// that follows. There must be one whose answer is.
    pub(crate) async fn begin_unanswered(&self, begin: &str) -> Result<Transaction, Failure> {
        Transaction::begin_unanswered(self.get().await?, begin)
    }

    /// The rows of a single statement that writes lazily, as [`BEGIN_TO_WRITE_LAZILY`] describes it, in one round trip.
    pub(crate) async fn rows_lazily(&self, sql: &str, args: &[&dyn Arg]) -> Result<Vec<Row>, Failure> {
        let tx = self.begin_unanswered(BEGIN_TO_WRITE_LAZILY).await?;
        let (rows, ()) = futures::try_join!(tx.rows(sql, args), tx.end())?;
        tx.commit().await?;
        Ok(rows)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::Tls;

    #[tokio::test]
    async fn a_server_that_says_nothing_is_not_waited_for_longer_than_a_while() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = server.local_addr().expect("an address");
        let url =
            PostgresUrl::parse(&format!("postgres://ann@{address}/db"), Tls::Disable).expect("an address");
        let pool = Pool::ready_within(Duration::from_millis(50), url, 1).expect("a pool");
        let Err(failure) = pool.get().await else { panic!("it has said nothing") };
        assert!(matches!(failure, Failure::Silent), "{failure}");
    }
}
