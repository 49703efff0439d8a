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
    // Problems of the file are shown here, with their positions, before the daemon would refuse it.
    let config = context.load(&Need::enabled().with_api())?;
    let reloaded = engine::reload(&config).await?;
    if reloaded.refused {
        let message = format!("the daemon refused the file: {}", reloaded.message);
        return Err(CommandError::invalid(message)
            .hint("the daemon keeps the running configuration until the file is fixed"));
    }
    if !context.quiet() {
        context.out.data(&format!("{}\n", escape(&reloaded.message)))?;
    }
    Ok(Exit::Done)
}
