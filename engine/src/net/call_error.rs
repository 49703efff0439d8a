//! Failed calls: the error for the run, and the type that metrics count.

use crate::model::{ErrorKind, ServiceKind, StageError};

/// Why a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallFailure {
    /// Too many calls or tokens. Halves the number of concurrent calls to the service.
    RateLimit,
    /// No answer within the time-out.
    Timeout,
    /// No connection, or it broke.
    Connection,
    /// The server reports an internal problem (408, 5xx).
    Server,
    /// An answer that is not the service's: garbage, truncated, too long, of a proxy.
    InvalidAnswer,
    /// The credentials are not accepted.
    Credentials,
    /// The account's quota is used up or unpaid; waiting does not help.
    Quota,
    /// Any other refusal.
    Refused,
}

impl CallFailure {
    /// The value of `type` in `reposync_errors_total`. The sets of values per service are part of the
    /// API (`api/metrics.rs` lists them).
    pub(super) fn label(self, role: ServiceKind) -> &'static str {
        match (role, self) {
            (ServiceKind::Notifier, _) => "webhook",
            (_, Self::RateLimit) => "rate_limit",
            (ServiceKind::Embedder, _) => "embedding",
            (ServiceKind::Source, Self::Timeout | Self::Connection | Self::Server | Self::InvalidAnswer) => {
                "network"
            }
            (ServiceKind::Source, Self::Credentials) => "authentication",
            (ServiceKind::Source, Self::Quota | Self::Refused) | (ServiceKind::Store, Self::Refused) => {
                "refused"
            }
            (ServiceKind::Store, Self::Timeout) => "timeout",
            (ServiceKind::Store, Self::Connection) => "connection",
            (ServiceKind::Store, Self::Server) => "server",
            (ServiceKind::Store, Self::InvalidAnswer) => "invalid_answer",
            (ServiceKind::Store, Self::Credentials) => "auth",
            (ServiceKind::Store, Self::Quota) => "quota",
        }
    }
}

/// A failed call. The kind of `error` decides whether it is tried again.
#[derive(Debug)]
pub struct CallError {
    /// The error as the run reports it.
    pub error: StageError,
    /// Why the call failed.
    pub failure: CallFailure,
}

impl CallError {
    /// An error with its cause.
    pub fn new(failure: CallFailure, error: StageError) -> Self {
        Self { error, failure }
    }
}

impl From<StageError> for CallError {
    /// The error of whoever read the answer: transient where the answer made no sense.
    fn from(error: StageError) -> Self {
        let failure = match error.kind {
            ErrorKind::Transient { .. } => CallFailure::InvalidAnswer,
            ErrorKind::Refused
            | ErrorKind::BadInput
            | ErrorKind::Misconfigured
            | ErrorKind::Local
            | ErrorKind::Fenced
            | ErrorKind::Outdated
            | ErrorKind::Cancelled
            | ErrorKind::Bug => CallFailure::Refused,
        };
        Self { error, failure }
    }
}
