//! What errors of the client and the server mean, and what to do about them.

use std::fmt;

use deadpool_postgres::{PoolError, TimeoutType};
use tokio_postgres::error::{ErrorPosition, SqlState};

use super::PostgresUrl;
use crate::model::{ErrorKind, StageError};

/// A call that failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server or the connection to it.
    Server(tokio_postgres::Error),
    /// No connection of the pool became free in time.
    Busy,
    /// The server accepted a connection, and then said nothing.
    Silent,
    /// Anything else, such as an answer that cannot be read.
    Other(String),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error)
    }
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Self::Server(error),
            PoolError::Timeout(TimeoutType::Wait) => Self::Busy,
            PoolError::Timeout(TimeoutType::Create) => Self::Silent,
            other => Self::Other(other.to_string()),
        }
    }
}

impl Failure {
    /// Whether a table does not exist.
    pub(crate) fn lacks_table(&self) -> bool {
        self.code() == Some(&SqlState::UNDEFINED_TABLE)
    }

    /// Whether an earlier statement of the transaction had failed, whose answer was not waited for.
    pub(crate) fn follows_another(&self) -> bool {
        self.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION)
    }

    /// The server's code; `None`: the server did not answer.
    pub(crate) fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Server(error) => error.code(),
            Self::Busy | Self::Silent | Self::Other(_) => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("no connection became free in time"),
            Self::Silent => f.write_str("the server accepted a connection and did not answer"),
            Self::Other(message) => f.write_str(message),
            Self::Server(error) => {
                let Some(answer) = error.as_db_error() else {
                    write!(f, "{error}")?;
                    let mut cause = std::error::Error::source(error);
                    while let Some(error) = cause {
                        write!(f, ": {error}")?;
                        cause = error.source();
                    }
                    return Ok(());
                };
                write!(f, "{} (SQLSTATE {})", answer.message(), answer.code().code())?;
                if let Some(detail) = answer.detail() {
                    write!(f, ": {detail}")?;
                }
                match answer.position() {
                    Some(ErrorPosition::Original(at)) => write!(f, ", at character {at}"),
                    _ => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for Failure {}

/// Whether the same transaction may succeed when it is tried again: the server is away, restarts or fails over, or
/// transactions got in each other's way.
pub(crate) fn is_transient(failure: &Failure) -> bool {
    match failure {
        Failure::Busy | Failure::Silent => true,
        Failure::Other(_) => false,
        Failure::Server(error) => match error.code() {
            Some(code) => {
                // Connection exceptions; shutdown, crash and start of the server; conflicts of transactions.
                code.code().starts_with("08")
                    || [
                        SqlState::ADMIN_SHUTDOWN,
                        SqlState::CRASH_SHUTDOWN,
                        SqlState::CANNOT_CONNECT_NOW,
                        SqlState::T_R_SERIALIZATION_FAILURE,
                        SqlState::T_R_DEADLOCK_DETECTED,
                        SqlState::TOO_MANY_CONNECTIONS,
                        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
                        SqlState::IN_FAILED_SQL_TRANSACTION,
                    ]
                    .contains(code)
            }
            None => error.is_closed() || is_broken(error),
        },
    }
}

/// Whether the connection, not the request, is the cause.
fn is_broken(error: &tokio_postgres::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            // A certificate that is refused arrives as an error of this kind.
            return error.kind() != std::io::ErrorKind::InvalidData;
        }
        cause = error.source();
    }
    // A time-out of the connection has no cause.
    error.to_string().contains("timeout") || error.to_string().contains("unexpected message")
}

/// The error of a stage: it cannot do `what` in the database.
pub(crate) fn failed(stage: &str, url: &PostgresUrl, what: &str, failure: Failure) -> StageError {
    let message = format!("cannot {what} in `{url}`");
    let (kind, hint) = meaning(&failure);
    StageError::new(stage, kind, message).caused_by(anyhow::Error::new(failure)).hint(hint)
}

fn meaning(failure: &Failure) -> (ErrorKind, &'static str) {
    let Some(code) = failure.code() else {
        let text = failure.to_string();
        return if text.contains("does not support TLS") {
            (
                ErrorKind::Misconfigured,
                "switch TLS on at the server; only for a server on this machine, set `tls = \"disable\"`",
            )
        } else if text.contains("TLS") || text.contains("certificate") {
            (
                ErrorKind::Misconfigured,
                "the server's certificate must name the host of the address, and its authority must be among those \
                 that the system trusts",
            )
        } else if text.contains("password") {
            (
                ErrorKind::Misconfigured,
                "put the password in the address: `postgres://USER:PASSWORD@HOST/DATABASE`",
            )
        } else if is_transient(failure) {
            (
                ErrorKind::Transient { retry_after: None },
                "check that the server runs and that host and port are right; nothing is lost",
            )
        } else {
            (ErrorKind::Bug, "report this with the command and its output")
        };
    };
    let misconfigured = |hint| (ErrorKind::Misconfigured, hint);
    match *code {
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            misconfigured("check user and password of the address, and the server's `pg_hba.conf`")
        }
        SqlState::INVALID_CATALOG_NAME => {
            misconfigured("create the database (`createdb`), or correct its name")
        }
        SqlState::INSUFFICIENT_PRIVILEGE => misconfigured(
            "the user needs the right to create tables there: make it the owner of the database",
        ),
        SqlState::READ_ONLY_SQL_TRANSACTION => {
            misconfigured("this server only reads, as a standby does: name the primary")
        }
        SqlState::UNDEFINED_FILE | SqlState::FEATURE_NOT_SUPPORTED => {
            misconfigured("install the extension on the server")
        }
        SqlState::TOO_MANY_CONNECTIONS => (
            ErrorKind::Transient { retry_after: None },
            "lower `pool`, raise the server's `max_connections`, or put PgBouncer in front of it",
        ),
        SqlState::DISK_FULL => {
            (ErrorKind::Local, "free some space on the server's disk and run again; nothing is lost")
        }
        _ if is_transient(failure) => {
            (ErrorKind::Transient { retry_after: None }, "the server is away for now; nothing is lost")
        }
        _ => (ErrorKind::Local, "see the cause; the next run continues where this one stopped"),
    }
}
