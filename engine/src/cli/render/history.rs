//! Renders past runs as a table. A single run is rendered by `summary`.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::model::{Counts, Outcome, Report, Running};

use super::super::output::{Style, escape};
use super::table::Table;
use super::words::{duration, number};

/// A past run, or the one in progress.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PastRun {
    /// Its id.
    pub(crate) run: String,
    /// The id of the request that the run belongs to; equals `run` unless the request covers
    /// several projects.
    pub(crate) request: String,
    /// The project; `None` for several projects and for a clean-up of orphans.
    pub(crate) project: Option<String>,
    /// What triggered it.
    pub(crate) trigger: String,
    /// When it started (UTC).
    pub(crate) started_at: DateTime<Utc>,
    /// `None` while it is in progress, or if the process died before the run ended.
    pub(crate) report: Option<Report>,
}

/// Width below which trigger and duration are left out.
const WIDE: usize = 100;

/// The runs as text, in the given order.
///
/// `running`: the process that holds the ledger's lock; runs that it did not start and that have no report were
/// interrupted.
pub(crate) fn render(runs: &[PastRun], running: Option<&Running>, style: &Style) -> String {
    if runs.is_empty() {
        return "No run yet.\n".to_owned();
    }
    let is_wide = style.width >= WIDE;
    let heading: &[&str] = if is_wide {
        &["run", "started (UTC)", "trigger", "outcome", "took", "files", "projects"]
    } else {
        &["run", "started (UTC)", "outcome", "files", "projects"]
    };
    let mut table = Table::new(heading).numbers(if is_wide { &[4] } else { &[] });
    for run in runs {
        let mut row =
            vec![escape(&run.run).into_owned(), run.started_at.format("%Y-%m-%d %H:%M").to_string()];
        if is_wide {
            row.push(escape(&run.trigger).into_owned());
        }
        row.push(outcome(run, running, style));
        if is_wide {
            row.push(run.report.as_ref().map(|report| duration(report.seconds)).unwrap_or_default());
        }
        row.push(run.report.as_ref().map(files).unwrap_or_default());
        row.push(projects(run));
        table.row(row);
    }
    table.render(0, style.width)
}

fn outcome(run: &PastRun, running: Option<&Running>, style: &Style) -> String {
    match &run.report {
        None if running.is_some_and(|running| running.since <= run.started_at) => style.good("running"),
        None => style.outcome(Outcome::Interrupted, Outcome::Interrupted.as_str()),
        Some(report) => style.outcome(report.outcome, report.outcome.as_str()),
    }
}

/// The files of a run in the signs of a plan: `+600 ~2 -1, 4 failed`.
fn files(report: &Report) -> String {
    let sum = |f: fn(&Counts) -> u64| report.projects.iter().map(|part| f(&part.counts)).sum::<u64>();
    let changes = [
        ('+', sum(|counts| counts.files_added)),
        ('~', sum(|counts| counts.files_changed)),
        ('>', sum(|counts| counts.files_moved)),
        ('-', sum(|counts| counts.files_removed)),
    ];
    let changes = changes.iter().filter(|(_, n)| *n > 0).map(|(sign, n)| format!("{sign}{}", number(*n)));
    let changes = changes.collect::<Vec<_>>().join(" ");
    let failed = match sum(|counts| counts.files_failed) {
        0 => String::new(),
        failed => format!("{} failed", number(failed)),
    };
    match (changes.is_empty(), failed.is_empty()) {
        (true, true) => "none".to_owned(),
        (false, false) => format!("{changes}, {failed}"),
        _ => changes + &failed,
    }
}

fn projects(run: &PastRun) -> String {
    let Some(report) = &run.report else {
        return run.project.as_deref().map(|name| escape(name).into_owned()).unwrap_or_default();
    };
    let names: Vec<_> = report.projects.iter().map(|project| escape(&project.project)).collect();
    match names.as_slice() {
        [first, second, rest @ ..] if rest.len() > 1 => format!("{first}, {second} and {} more", rest.len()),
        few => few.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use crate::model::ProjectReport;

    use super::*;

    fn run(id: &str, trigger: &str, outcome: Option<Outcome>, projects: &[&str]) -> PastRun {
        let started_at = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let project = |name: &&str| ProjectReport {
            project: (*name).to_owned(),
            outcome: Outcome::Done,
            counts: Counts { files_added: 600, files_removed: 1, ..Counts::default() },
            skipped: Vec::new(),
            failures: Vec::new(),
            error: None,
            retry_after: None,
            withheld: Vec::new(),
            notes: Vec::new(),
            search_quality: None,
        };
        let report = outcome.map(|outcome| Report {
            run: id.to_owned(),
            trigger: trigger.to_owned(),
            started_at,
            seconds: 12.5,
            outcome,
            projects: projects.iter().map(project).collect(),
        });
        PastRun {
            run: id.to_owned(),
            request: id.to_owned(),
            project: Some("handbook".to_owned()),
            trigger: trigger.to_owned(),
            started_at,
            report,
        }
    }

    #[test]
    fn runs_stand_in_columns() {
        let runs = [
            run("r4", "push", None, &[]),
            run("r3", "apply", Some(Outcome::Done), &["handbook", "code"]),
            run("r2", "schedule", Some(Outcome::Partial), &["a", "b", "c", "d"]),
            run("r1", "start", Some(Outcome::Failed), &["a"]),
        ];
        insta::assert_snapshot!(render(&runs, None, &Style::plain(100)), @"
        run  started (UTC)     trigger   outcome        took  files      projects
        r4   2024-10-04 00:00  push      interrupted                     handbook
        r3   2024-10-04 00:00  apply     done         12.5 s  +1,200 -2  handbook, code
        r2   2024-10-04 00:00  schedule  partial      12.5 s  +2,400 -4  a, b and 2 more
        r1   2024-10-04 00:00  start     failed       12.5 s  +600 -1    a
        ");
        let running = Running { process: 1, since: runs[0].started_at };
        insta::assert_snapshot!(render(&runs, Some(&running), &Style::plain(80)), @"
        run  started (UTC)     outcome  files      projects
        r4   2024-10-04 00:00  running             handbook
        r3   2024-10-04 00:00  done     +1,200 -2  handbook, code
        r2   2024-10-04 00:00  partial  +2,400 -4  a, b and 2 more
        r1   2024-10-04 00:00  failed   +600 -1    a
        ");
    }

    #[test]
    fn no_run_is_said() {
        assert_eq!(render(&[], None, &Style::plain(100)), "No run yet.\n");
    }
}
