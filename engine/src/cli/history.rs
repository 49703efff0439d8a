//! `reposync history`

use clap::Args;

use crate::config::{Config, Need};

use super::context::Context;
use super::error::{CommandError, CommandResult};
use super::exit::Exit;
use super::{engine, render};

/// Arguments of `history`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct HistoryArgs {
    /// Show this run in full: its id, or the beginning of it
    #[arg(value_name = "RUN", conflicts_with = "limit")]
    run: Option<String>,
    /// How many runs, the newest first
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = super::positive)]
    limit: usize,
    /// Print the runs as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  reposync history
  reposync history --limit 5 --json
";

/// Runs the command.
pub(super) fn run(context: &Context, args: &HistoryArgs) -> CommandResult {
    let config = context.load(&Need::enabled())?;
    match &args.run {
        Some(run) => one(context, &config, run, args.json),
        None => all(context, &config, args),
    }
}

fn all(context: &Context, config: &Config, args: &HistoryArgs) -> CommandResult {
    let runs = engine::history(config, args.limit)?;
    if args.json {
        context.out.json(&runs)?;
    } else {
        context.out.data(&render::history::render(&runs, &context.out.style))?;
    }
    Ok(Exit::Done)
}

fn one(context: &Context, config: &Config, run: &str, json: bool) -> CommandResult {
    let Some(past) = engine::past_run(config, run)? else {
        let error = CommandError::invalid(format!("there is no run `{run}`"));
        return Err(error.hint("`reposync history` lists the runs"));
    };
    let style = &context.out.style;
    match &past.report {
        _ if json => context.out.json(&past)?,
        Some(report) => context.out.data(&render::summary::render(report, style))?,
        None => context.out.data(&render::history::render(&[past], style))?,
    }
    Ok(Exit::Done)
}
