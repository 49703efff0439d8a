//! `reposync reload`

use clap::Args;

use super::context::Context;
use super::engine;
use super::error::CommandResult;
use super::exit::Exit;
use super::output::escape;

/// Arguments of `reload`.
#[derive(Debug, Args)]
pub(super) struct ReloadArgs {}

/// Runs the command.
pub(super) async fn run(context: &Context, _args: &ReloadArgs) -> CommandResult {
    let outcome = engine::reload(&context.config_path()?).await?;
    if !context.quiet() {
        context.out.data(&format!("{}\n", escape(&outcome)))?;
    }
    Ok(Exit::Done)
}
