//! Renders past runs as a table. A single run is rendered by `summary`.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::model::{Counts, Outcome, Report};

use super::super::output::{Style, escape};
use super::table::Table;
use super::words::{duration, moment, number};

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

/// The runs as text, in the given order.
pub(crate) fn render(runs: &[PastRun], style: &Style) -> String {
    if runs.is_empty() {
        return "No run yet.\n".to_owned();
    }
    let heading =
        ["run", "started", "trigger", "outcome", "took", "added", "changed", "removed", "failed", "projects"];
    let mut table = Table::new(&heading).numbers(&[4, 5, 6, 7, 8]);
    for run in runs {
        let mut row = vec![
            escape(&run.run).into_owned(),
            moment(run.started_at),
            escape(&run.trigger).into_owned(),
            outcome(run.report.as_ref(), style),
        ];
        row.extend(run.report.as_ref().map_or_else(|| unfinished(run), facts));
        table.row(row);
    }
    table.render(0)
}

fn outcome(report: Option<&Report>, style: &Style) -> String {
    match report.map(|report| report.outcome) {
        None => style.warning("unfinished"),
        Some(Outcome::Done) => style.good("done"),
        Some(Outcome::Partial) => style.warning("incomplete"),
        Some(Outcome::Failed) => style.bad("failed"),
        Some(Outcome::Interrupted) => style.warning("interrupted"),
    }
}

/// The cells of a run without a report: only the project, in the last column.
fn unfinished(run: &PastRun) -> Vec<String> {
    let project = run.project.as_deref().map(|name| escape(name).into_owned()).unwrap_or_default();
    [vec![String::new(); 5], vec![project]].concat()
}

/// The cells of a finished run.
fn facts(report: &Report) -> Vec<String> {
    let sum = |f: fn(&Counts) -> u64| number(report.projects.iter().map(|part| f(&part.counts)).sum());
    let names: Vec<_> = report.projects.iter().map(|project| escape(&project.project)).collect();
    let names = match names.as_slice() {
        [first, second, rest @ ..] if rest.len() > 1 => format!("{first}, {second} and {} more", rest.len()),
        few => few.join(", "),
    };
    vec![
        duration(report.seconds),
        sum(|counts| counts.files_added),
        sum(|counts| counts.files_changed + counts.files_moved),
        sum(|counts| counts.files_removed),
        sum(|counts| counts.files_failed),
        names,
    ]
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
        insta::assert_snapshot!(render(&runs, &Style::plain(100)), @"
        run  started                  trigger   outcome       took  added  changed  removed  failed  projects
        r4   2024-10-04 00:00:00 UTC  push      unfinished                                           handbook
        r3   2024-10-04 00:00:00 UTC  apply     done        12.5 s  1,200        0        2       0  handbook, code
        r2   2024-10-04 00:00:00 UTC  schedule  incomplete  12.5 s  2,400        0        4       0  a, b and 2 more
        r1   2024-10-04 00:00:00 UTC  start     failed      12.5 s    600        0        1       0  a
        ");
    }

    #[test]
    fn no_run_is_said() {
        assert_eq!(render(&[], &Style::plain(100)), "No run yet.\n");
    }
}
