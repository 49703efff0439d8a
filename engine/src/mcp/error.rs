//! Errors as agents see them: what happened, and what to do.

use crate::app::AppError;

/// The text of an answer, or what went wrong and what to do.
pub(super) type Answered = Result<String, String>;

/// An error, and what to do about it.
pub(super) fn explained(error: &AppError) -> String {
    match error {
        AppError::NoProject { name, known } if known.is_empty() => {
            format!("there is no project `{name}`, nor any other in reposync.toml")
        }
        AppError::NoProject { name, known } => {
            format!("there is no project `{name}`; there are: {}", known.join(", "))
        }
        AppError::Disabled(name) => format!("project `{name}` is disabled in reposync.toml; ask another one"),
        AppError::Owned(Some(name)) => format!("project `{name}` owns this namespace"),
        AppError::Owned(None) => "the namespace is in use".to_owned(),
        AppError::Absent(message)
        | AppError::Ambiguous(message)
        | AppError::Invalid(message)
        | AppError::Conflict { message, .. } => message.clone(),
        AppError::Stage(error) => {
            let hint = error.hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default();
            format!("{}{hint}", error.one_line())
        }
    }
}
