//! A connection, and how statements are sent on it.

use deadpool_postgres::Object;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::{Arg, Failure};

/// A connection of the pool; it goes back when dropped.
pub(crate) struct Connection(pub(super) Object);

impl Connection {
    /// The rows of a statement.
    pub(crate) async fn rows(&self, sql: &str, args: &[&dyn Arg]) -> Result<Vec<Row>, Failure> {
        rows(Ok(&self.0), sql, args).await
    }

    /// The row of a statement that gives at most one.
    pub(crate) async fn row(&self, sql: &str, args: &[&dyn Arg]) -> Result<Option<Row>, Failure> {
        Ok(self.rows(sql, args).await?.into_iter().next())
    }

    /// The number of rows that a statement changed.
    pub(crate) async fn run(&self, sql: &str, args: &[&dyn Arg]) -> Result<u64, Failure> {
        run(Ok(&self.0), sql, args).await
    }
}

/// Collects the arguments at once, so that the slice may be a temporary one.
pub(super) fn rows<'a>(
    client: Result<&'a Client, Failure>,
    sql: &'a str,
    args: &[&'a dyn Arg],
) -> impl Future<Output = Result<Vec<Row>, Failure>> + Send + use<'a> {
    let typed = typed(args);
    async move { Ok(client?.query_typed(sql, &typed).await?) }
}

/// Likewise.
pub(super) fn run<'a>(
    client: Result<&'a Client, Failure>,
    sql: &'a str,
    args: &[&'a dyn Arg],
) -> impl Future<Output = Result<u64, Failure>> + Send + use<'a> {
    let typed = typed(args);
    async move { Ok(client?.execute_typed(sql, &typed).await?) }
}

type Typed<'a> = Vec<(&'a (dyn ToSql + Sync), Type)>;

fn typed<'a>(args: &[&'a dyn Arg]) -> Typed<'a> {
    args.iter().map(|arg| (arg.value(), arg.sql_type())).collect()
}
