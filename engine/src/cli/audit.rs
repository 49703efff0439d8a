//! `reposync audit`

use chrono::{DateTime, Utc};
use clap::Args;

use crate::config::Need;
use crate::factory;
use crate::state::AuditQuery;

use super::context::Context;
use super::error::CommandResult;
use super::exit::Exit;
use super::render;
use super::serving::Basis;

/// Arguments of `audit`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct AuditArgs {
    /// Only entries that name this project
    #[arg(short, long, value_name = "PROJECT", add = super::projects::names())]
    project: Option<String>,
    /// Only entries since this moment: a date, RFC 3339, or a time span before now such as `7d`
    #[arg(long, value_name = "WHEN", value_parser = super::values::moment)]
    since: Option<DateTime<Utc>>,
    /// Maximum number of entries, newest first
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = super::values::positive)]
    limit: usize,
    /// Print the entries as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  reposync audit
  reposync audit --project handbook --since 7d
  reposync audit --since 2026-01-31 --limit 1000 --json
";

/// Runs the command.
pub(super) async fn run(context: &Context, args: AuditArgs) -> CommandResult {
    let state = match context.load_or_serving(&Need::enabled().only(&[]))? {
        Basis::File(config) => config.engine.state,
        Basis::Daemon(serving) => serving.state,
    };
    let state = factory::open_for_reading(&state).await?;
    let query = AuditQuery {
        limit: args.limit,
        before: None,
        since: args.since,
        projects: args.project.map(|project| vec![project]),
    };
    let rows = state.audit(&query).await?;
    if args.json {
        context.out.json(&rows)?;
    } else {
        context.out.data(&render::audit::render(&rows, context.out.style.width))?;
    }
    Ok(Exit::Done)
}
