//! The one error that crosses the seams.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::mask_secrets;

/// The result of a stage's work.
pub type StageResult<T> = Result<T, StageError>;

/// What went wrong in a stage, and whether it may be tried again.
///
/// Messages are lower-case fragments that fit after "failed to …" and name the thing (project,
/// path, host, status), never a body longer than a line or two. Registered secrets are masked in
/// messages and hints when the error is made.
#[derive(Debug, Clone)]
pub struct StageError {
    /// The stage's name in `reposync.toml`.
    pub stage: String,
    /// What kind of fault: the only thing that retries and runs branch on.
    pub kind: ErrorKind,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// What it was caused by.
    pub source: Option<Arc<anyhow::Error>>,
}

/// May it be tried again, and whose fault is it?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The service or the network, for now: time-outs, resets, garbage, 408/429/5xx, rate limits.
    /// `net::retry` tries again; once it comes out of a client, the tries are used up or the wait
    /// asked for is too long, and the projects on the stage end early (exit 1).
    Transient {
        /// How long the service asked to wait.
        retry_after: Option<Duration>,
    },
    /// The service refuses this one thing (a repository, a file, a text) and would again. It is
    /// recorded as failed; everything else goes on (exit 3).
    Refused,
    /// The thing itself is bad (a component's own refusal, an unreadable object). As `Refused`.
    BadInput,
    /// Credentials, a missing deployment or index, a dimension: the projects on the stage end at
    /// once, others go on (exit 1).
    Misconfigured,
    /// Local trouble that ends the run: a full disk, an unreadable ledger (exit 1).
    Local,
    /// The run was interrupted (exit 130).
    Cancelled,
    /// A broken promise inside RepoSync (exit 1).
    Bug,
}

impl ErrorKind {
    /// True where one item failed and everything else may go on.
    pub fn is_item(self) -> bool {
        matches!(self, Self::Refused | Self::BadInput)
    }
}

impl StageError {
    /// An error of a kind, in a stage.
    pub fn new(stage: impl Into<String>, kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { stage: stage.into(), kind, message: masked(message), hint: None, source: None }
    }

    /// A transient error without a wait asked for.
    pub fn transient(stage: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(stage, ErrorKind::Transient { retry_after: None }, message)
    }

    /// A permanent error of the configuration or the account.
    pub fn misconfigured(stage: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(stage, ErrorKind::Misconfigured, message)
    }

    /// One thing refused.
    pub fn refused(stage: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(stage, ErrorKind::Refused, message)
    }

    /// Trouble on this machine: disk, permissions, a damaged file.
    pub fn local(stage: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(stage, ErrorKind::Local, message)
    }

    /// The run was interrupted.
    pub fn cancelled(stage: impl Into<String>) -> Self {
        Self::new(stage, ErrorKind::Cancelled, "interrupted")
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(masked(hint));
        self
    }

    /// Adds what it was caused by.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<anyhow::Error>) -> Self {
        self.source = Some(Arc::new(source.into()));
        self
    }

    /// Message and causes in one line, for reports and logs; without secrets.
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

/// Services repeat what they were sent, and components what they were told: whatever becomes of an
/// error (a report, the history, a notification), it holds no secret.
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
