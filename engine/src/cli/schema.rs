//! `reposync schema`: the JSON Schema of the file, for editors.

use crate::config;

use super::context::Context;
use super::error::CommandResult;
use super::exit::Exit;

/// Runs the command.
pub(super) fn run(context: &Context) -> CommandResult {
    context.out.json(&config::schema())?;
    Ok(Exit::Done)
}
