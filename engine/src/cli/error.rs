//! Errors of commands and how they are printed: `error:`, the `caused by:` chain, a blank line,
//! `hint:`.

use crate::app::AppError;
use crate::model::{ErrorKind, StageError, mask_secrets};

use super::exit::Exit;
use super::output::{Style, escape};

/// The result of a command.
pub(crate) type CommandResult = Result<Exit, CommandError>;

/// An error that ends a command.
#[derive(Debug)]
pub(crate) struct CommandError {
    exit: Exit,
    body: Body,
    hints: Vec<String>,
}

#[derive(Debug)]
enum Body {
    /// A message with its causes.
    Chain(anyhow::Error),
    /// Text that is ready to print, such as the problems of `reposync.toml`.
    Rendered(String),
}

impl CommandError {
    /// An error with its exit code.
    pub(crate) fn new(exit: Exit, error: anyhow::Error) -> Self {
        let hints = error
            .chain()
            .filter_map(|cause| cause.downcast_ref::<StageError>())
            .filter_map(|error| error.hint.clone())
            .collect();
        Self { exit, body: Body::Chain(error), hints }
    }

    /// An invalid command line or file (exit 2).
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Exit::Invalid, anyhow::Error::msg(message.into()))
    }

    /// Text that is ready to print, including hints. The caller has escaped it.
    pub(crate) fn rendered(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, body: Body::Rendered(text.into()), hints: Vec::new() }
    }

    /// Adds a hint.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The exit status.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// The text for standard error, with secrets masked.
    pub(crate) fn render(&self, style: &Style) -> String {
        let mut text = String::new();
        match &self.body {
            Body::Rendered(rendered) => {
                text.push_str(rendered.trim_end());
                text.push('\n');
            }
            Body::Chain(error) => {
                let mut shown = String::new();
                for (depth, cause) in error.chain().enumerate() {
                    let message = escape(&cause.to_string()).into_owned();
                    // Skip a cause whose text the previous message already ends with.
                    if depth > 0 && shown.ends_with(&message) {
                        continue;
                    }
                    let label = if depth == 0 { style.bad("error:") } else { style.dim("caused by:") };
                    text.push_str(&format!("{label} {message}\n"));
                    shown = message;
                }
            }
        }
        if !self.hints.is_empty() {
            text.push('\n');
        }
        for hint in &self.hints {
            text.push_str(&format!("{} {}\n", style.advice("hint:"), escape(hint)));
        }
        mask_secrets(&text).into_owned()
    }
}

impl From<anyhow::Error> for CommandError {
    fn from(error: anyhow::Error) -> Self {
        let cancelled = error
            .chain()
            .filter_map(|cause| cause.downcast_ref::<StageError>())
            .any(|error| error.kind == ErrorKind::Cancelled);
        Self::new(if cancelled { Exit::Interrupted } else { Exit::Failed }, error)
    }
}

impl From<StageError> for CommandError {
    fn from(error: StageError) -> Self {
        anyhow::Error::from(error).into()
    }
}

impl From<AppError> for CommandError {
    fn from(error: AppError) -> Self {
        let message = match error {
            AppError::Stage(error) => return error.into(),
            AppError::NoProject { name, known } => {
                format!("there is no project `{name}` in the file; it has {}", known.join(", "))
            }
            AppError::Disabled(name) => format!("project `{name}` is disabled"),
            AppError::Owned(Some(project)) => format!("project `{project}` owns this namespace"),
            AppError::Owned(None) => "the namespace is in use".to_owned(),
            AppError::Absent(message)
            | AppError::Ambiguous(message)
            | AppError::Invalid(message)
            | AppError::Conflict { message, .. } => message,
        };
        anyhow::Error::msg(message).into()
    }
}

impl From<std::io::Error> for CommandError {
    fn from(error: std::io::Error) -> Self {
        anyhow::Error::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    fn shown(error: &CommandError) -> String {
        error.render(&Style::plain(100))
    }

    #[test]
    fn error_causes_and_hint_in_order() {
        let cause = anyhow::anyhow!("connection refused");
        let stage = StageError::transient("ada", "no answer from `example.com`")
            .caused_by(cause)
            .hint("check `endpoint` of stage `ada`");
        let error = Err::<(), _>(stage).context("failed to plan project `docs`").expect_err("is an error");
        let error = CommandError::from(error);
        assert_eq!(error.exit(), Exit::Failed);
        insta::assert_snapshot!(shown(&error), @"
        error: failed to plan project `docs`
        caused by: stage `ada`: no answer from `example.com`
        caused by: connection refused

        hint: check `endpoint` of stage `ada`
        ");
    }

    #[test]
    fn invalid_input_exits_with_two() {
        let error = CommandError::invalid("no project is named `dosc`").hint("did you mean `docs`?");
        assert_eq!(error.exit(), Exit::Invalid);
        insta::assert_snapshot!(shown(&error), @"
        error: no project is named `dosc`

        hint: did you mean `docs`?
        ");
    }

    #[test]
    fn an_interruption_exits_with_130() {
        assert_eq!(CommandError::from(StageError::cancelled("apply")).exit(), Exit::Interrupted);
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let error = CommandError::invalid("bad name `\u{1b}[2J`");
        assert!(!shown(&error).contains('\u{1b}'));
    }
}
