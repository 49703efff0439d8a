//! The list of runs.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use maud::{Markup, html};
use serde::Deserialize;

use super::failure::PageResult;
use super::format::{ago, count, duration, encode, number, run_badge};
use super::layout;
use super::visitor::Visitor;
use crate::api::error::ApiError;
use crate::api::extract::Params;
use crate::daemon::{RunPage, RunQuery, RunStatus, RunView, TRIGGERS};
use crate::model::{ApiScope, Counts};

/// Rows of a page.
const ROWS: usize = 50;

/// Which runs. What cannot be read is left out.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    project: String,
    status: String,
    trigger: String,
    /// A day (UTC).
    since: String,
    before: String,
}

impl Query {
    fn wanted(&self) -> RunQuery {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let day: Option<NaiveDate> = self.since.parse().ok();
        RunQuery {
            limit: ROWS,
            before: given(&self.before),
            project: given(&self.project),
            trigger: given(&self.trigger),
            since: day.map(|day| day.and_time(NaiveTime::MIN).and_utc()),
            status: RunStatus::ALL.into_iter().find(|status| status.as_str() == self.status),
            active: Vec::new(),
        }
    }

    /// The address of the page that begins after a run.
    fn after(&self, run: &str) -> String {
        let fields = [
            ("project", self.project.as_str()),
            ("status", &self.status),
            ("trigger", &self.trigger),
            ("since", &self.since),
            ("before", run),
        ];
        let given = fields.into_iter().filter(|(_, value)| !value.is_empty());
        let given: Vec<String> = given.map(|(name, value)| format!("{name}={}", encode(value))).collect();
        format!("/console/runs?{}", given.join("&"))
    }
}

/// The page.
pub(super) async fn page(visitor: Visitor, Params(query): Params<Query>) -> PageResult {
    visitor.client.require(ApiScope::Read)?;
    let found = visitor.client.handle.runs(query.wanted()).await?;
    let found = found.ok_or_else(|| ApiError::not_found("there is no such page of runs any more"))?;
    let main = html! {
        div.head { div.title { h1 { "Runs" } } }
        (filters(&query))
        // Older pages do not change.
        div data-live=[query.before.is_empty().then_some("poll")] {
            (table(&found, Utc::now()))
            nav.pager aria-label="Pages" {
                span { @if !query.before.is_empty() { a href="/console/runs" { "Newest runs" } } }
                @if let Some(next) = &found.next {
                    a.button href=(query.after(next)) { "Older runs" }
                }
            }
        }
    };
    Ok(layout::page(&visitor, "Runs", "/console/runs", &main))
}

fn filters(query: &Query) -> Markup {
    let choice = |name: &str, label: &str, own: &str, values: &[&str]| {
        html! {
            label {
                (label)
                select name=(name) {
                    option value="" selected[own.is_empty()] { "all" }
                    @for value in values { option value=(value) selected[own == *value] { (value) } }
                }
            }
        }
    };
    html! {
        form.filters role="search" method="get" action="/console/runs" {
            label.grow { "Project" input type="search" name="project" value=(query.project) placeholder="Name of a project" data-search; }
            (choice("status", "Status", &query.status, &RunStatus::ALL.map(RunStatus::as_str)))
            (choice("trigger", "Trigger", &query.trigger, &TRIGGERS))
            label { "Since (UTC)" input type="date" name="since" value=(query.since); }
            button type="submit" { "Filter" }
        }
    }
}

fn table(page: &RunPage, now: DateTime<Utc>) -> Markup {
    html! {
        section.card {
            div.scroll {
                table {
                    thead {
                        tr {
                            th scope="col" { "Outcome" } th scope="col" { "Run" } th scope="col" { "Started" }
                            th.wide scope="col" { "Trigger" } th.wide.number scope="col" { "Took" } th.wide scope="col" { "Files" }
                        }
                    }
                    tbody {
                        @for run in &page.runs { (row(run, now)) }
                        @if page.runs.is_empty() { tr.empty { td colspan="6" { "No run." } } }
                    }
                }
            }
        }
    }
}

fn row(run: &RunView, now: DateTime<Utc>) -> Markup {
    let started: Option<DateTime<Utc>> = run.started_at.as_ref().and_then(|at| at.parse().ok());
    html! {
        tr {
            td { (run_badge(run.status, run.outcome)) }
            td {
                a.name href={ "/console/runs/" (encode(&run.run)) } data-row { (projects(run)) }
                div.note { code { (run.run) } }
            }
            td { @if let Some(at) = started { (ago(at, now)) } @else { span.muted { "queued" } } }
            td.wide { (run.trigger) }
            td.wide.number { @if let Some(report) = &run.report { (duration(report.seconds)) } }
            td.wide { @if run.report.is_some() { (files(run)) } }
        }
    }
}

/// The projects of a run.
pub(super) fn projects(run: &RunView) -> String {
    if let Some(project) = &run.project {
        return project.clone();
    }
    let names: Vec<&str> =
        run.report.iter().flat_map(|report| &report.projects).map(|part| part.project.as_str()).collect();
    match names.as_slice() {
        [] => "several projects".to_owned(),
        [first, second, rest @ ..] if rest.len() > 1 => format!("{first}, {second} and {} more", rest.len()),
        few => few.join(", "),
    }
}

fn files(run: &RunView) -> Markup {
    let parts = || run.report.iter().flat_map(|report| &report.projects);
    let sum = |of: fn(&Counts) -> u64| parts().map(|part| of(&part.counts)).sum::<u64>();
    let changes = [
        ("+", sum(|counts| counts.files_added)),
        ("~", sum(|counts| counts.files_changed)),
        (">", sum(|counts| counts.files_moved)),
        ("-", sum(|counts| counts.files_removed)),
    ];
    let failed = sum(|counts| counts.files_failed);
    let texts: Vec<String> =
        changes.iter().filter(|(_, n)| *n > 0).map(|(sign, n)| format!("{sign}{}", number(*n))).collect();
    html! {
        @if texts.is_empty() && failed == 0 { span.muted { "no change" } } @else { (texts.join(" ")) }
        @if failed > 0 { div.note.bad { (count(failed, "file failed", "files failed")) } }
    }
}
