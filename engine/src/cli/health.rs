//! `reposync health`

use clap::Args;

use crate::config::Need;

use super::context::Context;
use super::engine;
use super::error::CommandResult;
use super::exit::Exit;
use super::output::escape;

/// Arguments of `health`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct HealthArgs {}

const EXAMPLES: &str = "\
Exits with 0 where the daemon of this file answers, also while it is degraded, and with 1 where it does not.
Needs no token and no secrets, for health checks of containers.
";

/// Runs the command.
pub(super) async fn run(context: &Context, _args: &HealthArgs) -> CommandResult {
    let config = context.load_to_read(&Need::enabled().only(&[]))?;
    let status = engine::health(&config).await?;
    if !context.quiet() {
        context.out.data(&format!("{}\n", escape(&status)))?;
    }
    Ok(Exit::Done)
}
