//! The error type of all stages.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::mask_secrets;

/// The result of a stage's operation.
pub type StageResult<T> = Result<T, StageError>;

/// An error of a stage, classified by how to react to it.
///
/// Messages are lower-case fragments that fit after "failed to …". They name the object (project,
/// path, host, status) and are at most a line or two. Registered secrets are masked in messages and
/// hints on construction.
#[derive(Debug, Clone)]
pub struct StageError {
    /// The stage's name in `reposync.toml`.
    pub stage: String,
    /// The class of the error. Retries and runs depend on nothing else.
    pub kind: ErrorKind,
    /// What happened.
    pub message: String,
    /// What the user can do about it.
    pub hint: Option<String>,
    /// The underlying error.
    pub source: Option<Arc<anyhow::Error>>,
}

/// Whether a retry can help, and how much of a run an error ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// A temporary failure of the service or the network: time-outs, resets, malformed responses,
    /// 408/429/5xx, rate limits. `net::retry` retries these; one that leaves a client has used up
    /// its attempts or asks for too long a wait, and fails the projects that use the stage (exit
    /// 1).
    Transient {
        /// The delay that the service requested.
        retry_after: Option<Duration>,
    },
    /// The service rejects this item (a repository, a file, a text) and would do so again. The item
    /// is recorded as failed; the run continues (exit 3).
    Refused,
    /// The item itself is invalid (a component returned an error, an object is unreadable). Treated
    /// as `Refused`.
    BadInput,
    /// Wrong credentials, a missing deployment or index, another dimension. Fails the projects that
    /// use the stage without a retry; others continue (exit 1).
    Misconfigured,
    /// A local failure that ends the run: a full disk, an unreadable ledger (exit 1).
    Local,
    /// The lease on the work was taken over by another process; nothing was changed (exit 1).
    Fenced,
    /// A newer program has changed the tables of the state: this process must end; nothing was changed (exit 1).
    Outdated,
    /// The run was interrupted (exit 130).
    Cancelled,
    /// An internal error of RepoSync (exit 1).
    Bug,
}

impl ErrorKind {
    /// True if only one item failed and the run can continue.
    pub fn is_item(self) -> bool {
        matches!(self, Self::Refused | Self::BadInput)
    }
}

impl StageError {
    /// An error of this kind.
    pub fn new(stage: impl Into<String>, kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { stage: stage.into(), kind, message: masked(message), hint: None, source: None }
    }

    /// A transient error without a requested delay.
    pub fn transient(stage: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(stage, ErrorKind::Transient { retry_after: None }, message)
    }

    /// A permanent error of the configuration or the account.
    pub fn misconfigured(stage: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(stage, ErrorKind::Misconfigured, message)
    }

    /// An error that concerns one item.
    pub fn refused(stage: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(stage, ErrorKind::Refused, message)
    }

    /// A failure of this machine: disk, permissions, a damaged file.
    pub fn local(stage: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(stage, ErrorKind::Local, message)
    }

    /// The error of an interrupted run.
    pub fn cancelled(stage: impl Into<String>) -> Self {
        Self::new(stage, ErrorKind::Cancelled, "interrupted")
    }

    /// Sets the hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(masked(hint));
        self
    }

    /// Sets the underlying error.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<anyhow::Error>) -> Self {
        self.source = Some(Arc::new(source.into()));
        self
    }

    /// Message and causes in one line, with secrets masked, for reports and logs.
    pub fn one_line(&self) -> String {
        let mut line = self.message.clone();
        if let Some(source) = &self.source {
            for cause in source.chain() {
                line.push_str(": ");
                line.push_str(&cause.to_string());
            }
        }
        masked(line)
    }
}

/// Masks secrets: services and components may echo them, and errors end up in reports, the history
/// and notifications.
fn masked(text: impl Into<String>) -> String {
    let text = text.into();
    match mask_secrets(&text) {
        Cow::Owned(masked) => masked,
        Cow::Borrowed(_) => text,
    }
}

impl fmt::Display for StageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stage `{}`: {}", self.stage, self.message)
    }
}

impl std::error::Error for StageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|error| &**error as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::register_secrets;

    #[test]
    fn an_error_never_holds_a_registered_secret() {
        let secret = "of-the-error-test-93ab";
        register_secrets([secret.to_owned()]);
        let cause = anyhow::anyhow!("the answer was {secret}");
        let error =
            StageError::refused("s", format!("no {secret}")).hint(format!("not {secret}")).caused_by(cause);
        assert_eq!(error.one_line(), "no ***: the answer was ***");
        assert_eq!(
            (error.to_string().as_str(), error.hint.as_deref()),
            ("stage `s`: no ***", Some("not ***"))
        );
    }
}
