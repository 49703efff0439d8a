//! `reposync reload`

use clap::Args;

use crate::config::Need;

use super::context::Context;
use super::engine;
use super::error::{CommandError, CommandResult};
use super::exit::Exit;
use super::output::escape;

/// Arguments of `reload`.
#[derive(Debug, Args)]
pub(super) struct ReloadArgs {}

/// Runs the command.
pub(super) async fn run(context: &Context, _args: &ReloadArgs) -> CommandResult {
    // What the daemon would refuse is shown here, with its place in the file.
    let config = context.load(&Need::enabled().with_api())?;
    let reloaded = engine::reload(&config).await?;
    if reloaded.refused {
        let message = format!("the daemon refuses the file: {}", reloaded.message);
        return Err(CommandError::invalid(message).hint("the running configuration stays until it is mended"));
    }
    if !context.quiet() {
        context.out.data(&format!("{}\n", escape(&reloaded.message)))?;
    }
    Ok(Exit::Done)
}
