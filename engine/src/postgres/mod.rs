//! Connections to PostgreSQL: addresses, TLS, a pool, and what errors mean.
//!
//! Statements are not prepared: each is sent with the types of its parameters, so that PgBouncer may give every
//! transaction another connection. Statements of one transaction may be sent without waiting for each other's
//! answers: `futures::try_join!` sends them in the order in which they are written (`tokio::try_join!` does not), and
//! saves the round trips.

mod arg;
mod connection;
mod error;
mod listen;
mod pool;
mod transaction;
mod url;

pub(crate) use arg::Arg;
pub(crate) use error::{Failure, failed, is_transient};
pub(crate) use listen::listen;
pub(crate) use pool::Pool;
pub(crate) use tokio_postgres::Row;
pub(crate) use transaction::{BEGIN_TO_WRITE, BEGIN_TO_WRITE_LAZILY, Transaction};
pub(crate) use url::{PostgresUrl, Tls};
