//! The list of runs.

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use serde::Deserialize;

use super::failure::PageResult;
use super::format::{ago, count, duration, encode, number, run_badge};
use super::layout;
use super::visitor::Visitor;
use crate::api::error::ApiError;
use crate::api::extract::Params;
use crate::daemon::{RunPage, RunQuery, RunView};
use crate::model::{ApiScope, Counts};

/// Rows of a page.
const ROWS: usize = 50;

/// Which runs.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    project: String,
    before: String,
}

/// The page.
pub(super) async fn page(visitor: Visitor, Params(query): Params<Query>) -> PageResult {
    visitor.client.require(ApiScope::Read)?;
    let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let wanted = RunQuery { limit: ROWS, before: given(&query.before), project: given(&query.project) };
    let found = visitor.client.handle.runs(wanted).await?;
    let found = found.ok_or_else(|| ApiError::not_found("there is no such page of runs any more"))?;
    let main = html! {
        div.head {
            div.title { h1 { "Runs" } }
            form.filters role="search" method="get" action="/console/runs" {
                label.grow { "Project" input type="search" name="project" value=(query.project) placeholder="Name of a project" data-search; }
                button type="submit" { "Filter" }
            }
        }
        // Older pages do not change.
        div data-live=[query.before.is_empty().then_some("poll")] {
            (table(&found, Utc::now()))
            nav.pager aria-label="Pages" {
                span { @if !query.before.is_empty() { a href="/console/runs" { "Newest runs" } } }
                @if let Some(next) = &found.next {
                    a.button href={ "/console/runs?project=" (encode(&query.project)) "&before=" (encode(next)) } { "Older runs" }
                }
            }
        }
    };
    Ok(layout::page(&visitor, "Runs", "/console/runs", &main))
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
                        @if page.runs.is_empty() { tr.empty { td colspan="6" { "No run yet." } } }
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
