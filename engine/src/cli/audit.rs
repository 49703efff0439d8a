//! `reposync audit`

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use clap::Args;

use crate::config::Need;
use crate::factory;
use crate::model::HumanDuration;
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
    #[arg(long, value_name = "WHEN", value_parser = moment)]
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

fn moment(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(day.and_time(chrono::NaiveTime::MIN).and_utc());
    }
    let span: Result<HumanDuration, _> = text.parse();
    let before = span.ok().and_then(|span| Utc::now().checked_sub_signed(TimeDelta::from_std(span.0).ok()?));
    before.ok_or_else(|| "write a date such as 2026-01-31, or a time span before now such as `7d`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_date_a_time_or_a_span() {
        assert_eq!(moment("2026-01-31").map(|at| at.to_rfc3339()), Ok("2026-01-31T00:00:00+00:00".into()));
        assert_eq!(
            moment("2026-01-31T08:00:00+01:00").map(|at| at.to_rfc3339()),
            Ok("2026-01-31T07:00:00+00:00".into())
        );
        let before = Utc::now() - TimeDelta::days(7);
        let week = moment("7d").expect("a span");
        assert!(before <= week && week <= Utc::now() - TimeDelta::days(7));
        assert!(moment("yesterday").is_err() && moment("").is_err());
    }
}
