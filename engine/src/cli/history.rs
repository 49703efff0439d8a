//! `reposync history`

use chrono::{DateTime, Utc};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::config::Need;
use crate::factory;
use crate::model::{Running, StageResult};
use crate::state::{RunQuery, RunRow, RunStatus, State, TRIGGERS};

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
    #[arg(value_name = "RUN", conflicts_with_all = ["limit", "before", "project", "trigger", "since", "status"])]
    run: Option<String>,
    /// Only runs that included this project
    #[arg(short, long, value_name = "PROJECT", add = super::projects::names())]
    project: Option<String>,
    /// Only runs that this started
    #[arg(long, value_name = "WHAT", value_parser = PossibleValuesParser::new(TRIGGERS))]
    trigger: Option<String>,
    /// Only runs that started since this moment: a date, RFC 3339, or a time span before now such as `7d`
    #[arg(long, value_name = "WHEN", value_parser = super::values::moment)]
    since: Option<DateTime<Utc>>,
    /// Only runs of this status. One whose process died is `interrupted`
    #[arg(long, value_name = "STATUS", value_parser = status())]
    status: Option<RunStatus>,
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
  reposync history --status failed --since 7d
  reposync history --project handbook --before 20260131T080000123-0a1b2000
";

/// A status that runs of the history have: queued ones are not in it.
fn status() -> impl TypedValueParser<Value = RunStatus> {
    let recorded = RunStatus::ALL.into_iter().filter(|status| *status != RunStatus::Queued);
    PossibleValuesParser::new(recorded.clone().map(RunStatus::as_str))
        .try_map(move |word| recorded.clone().find(|status| status.as_str() == word).ok_or("unknown status"))
}

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
    let running = state.holder().await?;
    let query = RunQuery {
        limit: args.limit.saturating_add(1),
        before: args.before.clone(),
        project: args.project.clone(),
        trigger: args.trigger.clone(),
        since: args.since,
        status: args.status,
        active: if args.status.is_some() { active(state, running.as_ref()).await? } else { Vec::new() },
    };
    let is_filtered =
        query.project.is_some() || query.trigger.is_some() || query.since.is_some() || query.status.is_some();
    let Some(rows) = state.runs(&query).await? else {
        return Err(no_run(args.before.as_deref().unwrap_or_default()));
    };
    let mut runs: Vec<PastRun> = rows.into_iter().map(past).collect();
    let more = runs.len() > args.limit;
    runs.truncate(args.limit);
    if args.json {
        context.out.json(&runs)?;
    } else if runs.is_empty() && is_filtered {
        context.out.data("No such run.\n")?;
    } else {
        context.out.data(&render::history::render(&runs, running.as_ref(), &context.out.style))?;
        if let Some(last) = runs.last().filter(|_| more) {
            let with = if is_filtered { " with the same filters" } else { "" };
            let last = escape(&last.run);
            context.out.message(&format!("Older runs: `reposync history --before {last}`{with}\n"));
        }
    }
    Ok(Exit::Done)
}

/// The runs without an end that are under way: they began after the process that is at work. The others were interrupted.
async fn active(state: &dyn State, running: Option<&Running>) -> StageResult<Vec<String>> {
    let Some(running) = running else { return Ok(Vec::new()) };
    let status = Some(RunStatus::Interrupted);
    let query = RunQuery { since: Some(running.since), status, ..RunQuery::newest(usize::MAX) };
    let rows = state.runs(&query).await?.unwrap_or_default();
    Ok(rows.into_iter().map(|row| row.id).collect())
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
