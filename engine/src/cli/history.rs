//! `reposync history`

use clap::Args;

use crate::config::Need;
use crate::factory;
use crate::state::{RunQuery, RunRow, State};

use super::context::Context;
use super::error::{CommandError, CommandResult};
use super::exit::Exit;
use super::output::escape;
use super::render;
use super::render::history::PastRun;
use super::serving::Basis;

/// Arguments of `history`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct HistoryArgs {
    /// Show this run in full, by its id or a prefix of it
    #[arg(value_name = "RUN", conflicts_with_all = ["limit", "before", "project"])]
    run: Option<String>,
    /// Only runs that included this project
    #[arg(short, long, value_name = "PROJECT", add = super::projects::names())]
    project: Option<String>,
    /// Maximum number of runs, newest first
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = super::values::positive)]
    limit: usize,
    /// Only runs older than the one with this id, for the next page
    #[arg(long, value_name = "RUN")]
    before: Option<String>,
    /// Print the runs as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  reposync history
  reposync history --limit 5 --json
  reposync history --project handbook --before 20260131T080000123-0a1b2000
";

/// Runs the command.
pub(super) async fn run(context: &Context, args: &HistoryArgs) -> CommandResult {
    let state = match context.load_or_serving(&Need::enabled().only(&[]))? {
        Basis::File(config) => config.engine.state,
        Basis::Daemon(serving) => serving.state,
    };
    let state = factory::open_for_reading(&state).await?;
    match &args.run {
        Some(run) => one(context, &*state, run, args.json).await,
        None => all(context, &*state, args).await,
    }
}

async fn all(context: &Context, state: &dyn State, args: &HistoryArgs) -> CommandResult {
    let query = RunQuery {
        limit: args.limit.saturating_add(1),
        before: args.before.clone(),
        project: args.project.clone(),
        ..RunQuery::default()
    };
    let Some(rows) = state.runs(&query).await? else {
        return Err(no_run(args.before.as_deref().unwrap_or_default()));
    };
    let mut runs: Vec<PastRun> = rows.into_iter().map(past).collect();
    let more = runs.len() > args.limit;
    runs.truncate(args.limit);
    if args.json {
        context.out.json(&runs)?;
    } else {
        let running = state.holder().await?;
        context.out.data(&render::history::render(&runs, running.as_ref(), &context.out.style))?;
        if let Some(last) = runs.last().filter(|_| more) {
            context.out.message(&format!("Older runs: `reposync history --before {}`\n", escape(&last.run)));
        }
    }
    Ok(Exit::Done)
}

fn no_run(run: &str) -> CommandError {
    let error = CommandError::invalid(format!("there is no run `{run}`"));
    error.hint("`reposync history` lists the runs")
}

/// One run, by its id or a prefix of it.
async fn one(context: &Context, state: &dyn State, run: &str, json: bool) -> CommandResult {
    let Some(past) = state.run_like(run).await?.map(past) else {
        return Err(no_run(run));
    };
    let style = &context.out.style;
    match &past.report {
        _ if json => context.out.json(&past)?,
        Some(report) => context.out.data(&render::summary::render(report, style))?,
        None => {
            let running = state.holder().await?;
            context.out.data(&render::history::render(&[past], running.as_ref(), style))?;
        }
    }
    Ok(Exit::Done)
}

fn past(row: RunRow) -> PastRun {
    let started_at = row.started_at.parse().unwrap_or_default();
    PastRun {
        run: row.id,
        request: row.request,
        project: row.project,
        trigger: row.trigger,
        started_at,
        report: row.report,
    }
}
