//! `reposync status`

use clap::Args;

use crate::config::Need;

use super::context::Context;
use super::error::CommandResult;
use super::exit::Exit;
use super::{engine, render};

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Print the status as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(context: &Context, args: &StatusArgs) -> CommandResult {
    let config = context.load_to_read(&Need::enabled().only(&[]))?;
    let status = engine::status(&config)?;
    if args.json {
        context.out.json(&status)?;
    } else {
        context.out.data(&render::status::render(&status, &context.out.style))?;
    }
    Ok(Exit::Done)
}
