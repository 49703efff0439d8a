//! `reposync daemon`

use clap::Args;

use crate::config::Need;

use super::context::Context;
use super::engine;
use super::error::CommandResult;
use super::exit::Exit;
use super::interrupt::Interrupt;

/// Arguments of `daemon`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct DaemonArgs {}

const AFTER: &str = "\
It runs in the foreground. SIGHUP and `reposync reload` take up the file, as does saving it;
SIGTERM and Ctrl-C stop it after the current batch, a second one stops it at once.
";

/// Runs the command.
pub(super) async fn run(context: &Context, _args: &DaemonArgs) -> CommandResult {
    let need = context.need(&Need::enabled().with_api());
    let config = context.load_to_follow(&need)?;
    let interrupt = Interrupt::listen(&context.progress)?;
    engine::daemon(config, need, interrupt.token()).await?;
    Ok(Exit::Done)
}
