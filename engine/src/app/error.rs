//! Why a use case refused or failed.

use crate::model::StageError;

/// Why a use case refused or failed.
#[derive(Debug)]
pub enum AppError {
    /// The file has no project of this name.
    NoProject {
        /// The name.
        name: String,
        /// The projects of the file.
        known: Vec<String>,
    },
    /// The project is disabled.
    Disabled(String),
    /// Nothing found; the message says what.
    Absent(String),
    /// Several candidates; the message lists them.
    Ambiguous(String),
    /// The namespace belongs to this project; `None`: to one that the caller may not see.
    Owned(Option<String>),
    /// The request does not fit to what happened before; the message says to what.
    Conflict {
        /// A stable word.
        code: &'static str,
        /// What happened before.
        message: String,
    },
    /// A value of the request is invalid; the message says which and what is allowed.
    Invalid(String),
    /// A stage, the state or a file returned an error.
    Stage(StageError),
}

/// The result of a use case.
pub type AppResult<T> = Result<T, AppError>;

impl From<StageError> for AppError {
    fn from(error: StageError) -> Self {
        Self::Stage(error)
    }
}
