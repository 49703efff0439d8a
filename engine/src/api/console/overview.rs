//! The overview: a row for each project, what needs attention first.

use std::collections::BTreeMap;

use axum::extract::State;
use chrono::{DateTime, Utc};
use maud::{Markup, html};
use serde::Deserialize;

use super::failure::PageResult;
use super::format::{ago, behind, count, encode, money, number, project_badge, project_colour};
use super::layout;
use super::visitor::Visitor;
use crate::api::App;
use crate::api::extract::Params;
use crate::api::projects::{ProjectBody, project_bodies};
use crate::model::{ApiScope, ProjectState};

/// Rows of a page.
const ROWS: usize = 100;
/// The states, what needs attention first.
const STATES: [ProjectState; 8] = [
    ProjectState::Failed,
    ProjectState::Partial,
    ProjectState::Behind,
    ProjectState::Running,
    ProjectState::NeverRun,
    ProjectState::Orphan,
    ProjectState::Current,
    ProjectState::Disabled,
];

/// Which rows, in which order.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    q: String,
    state: String,
    sort: String,
    page: usize,
}

/// The page.
pub(super) async fn page(
    State(app): State<App>,
    visitor: Visitor,
    Params(query): Params<Query>,
) -> PageResult {
    if !visitor.client.has(ApiScope::Read) {
        let main = html! { div.callout.warn role="alert" { "The token lacks the scope " code { "read" } ", which this page needs." } };
        return Ok(layout::page(&visitor, "Overview", "/console", &main));
    }
    let now = Utc::now();
    let all = project_bodies(&visitor.client).await?;
    let sees_all = visitor.client.grant().access.is_of_all_repositories();
    let costs =
        if sees_all { visitor.client.handle.app().cost_this_month(now).await? } else { BTreeMap::new() };
    let wanted = query.q.trim().to_lowercase();
    let mut rows: Vec<&ProjectBody> = all
        .iter()
        .filter(|project| query.state.is_empty() || project.state.as_str() == query.state)
        .filter(|project| project.project.to_lowercase().contains(&wanted))
        .collect();
    sort(&mut rows, &query.sort);
    let found = rows.len();
    let pages = found.div_ceil(ROWS).max(1);
    let at = query.page.clamp(1, pages);
    let rows = &rows[(at - 1) * ROWS..(at * ROWS).min(found)];
    let main = html! {
        div.head {
            div.title { h1 { "Projects" } }
            (filters(&query))
        }
        div data-live="poll" {
            @if visitor.client.require_whole_admin().is_ok() { (notices(&app)) }
            (tiles(&all, &query))
            (table(rows, &query, &costs, now))
            (pager(&query, (at, pages, found)))
        }
    };
    Ok(layout::page(&visitor, "Projects", "/console", &main))
}

fn rank(state: ProjectState) -> usize {
    STATES.iter().position(|one| *one == state).unwrap_or(STATES.len())
}

fn sort(rows: &mut [&ProjectBody], by: &str) {
    match by {
        "name" => rows.sort_by(|a, b| a.project.cmp(&b.project)),
        "behind" => {
            rows.sort_by_key(|project| std::cmp::Reverse(project.seconds_behind.unwrap_or(u64::MAX)));
        }
        "run" => {
            rows.sort_by_key(|project| {
                std::cmp::Reverse(project.last_run.as_ref().map(|run| run.finished_at))
            });
        }
        "vectors" => rows.sort_by_key(|project| std::cmp::Reverse(project.vectors)),
        _ => rows.sort_by(|a, b| (rank(a.state), &a.project).cmp(&(rank(b.state), &b.project))),
    }
}

/// The address of the overview with another value of one field.
fn address(query: &Query, field: &str, value: &str) -> String {
    let page = query.page.to_string();
    let fields = [("q", query.q.as_str()), ("state", &query.state), ("sort", &query.sort), ("page", &page)];
    let mut text = String::from("/console");
    let mut separator = '?';
    for (name, own) in fields {
        // Another filter or order begins at its first page.
        let value = if name == field {
            value
        } else if name == "page" {
            ""
        } else {
            own
        };
        if !value.is_empty() {
            text.push_str(&format!("{separator}{name}={}", encode(value)));
            separator = '&';
        }
    }
    text
}

fn filters(query: &Query) -> Markup {
    html! {
        form.filters role="search" method="get" action="/console" {
            @for (name, value) in [("state", &query.state), ("sort", &query.sort)] {
                @if !value.is_empty() { input type="hidden" name=(name) value=(value); }
            }
            label.grow {
                "Name"
                input type="search" name="q" value=(query.q) placeholder="Filter projects" data-search;
            }
            button type="submit" { "Filter" }
        }
    }
}

/// What concerns the daemon as a whole.
fn notices(app: &App) -> Markup {
    let view = app.handle.view();
    html! {
        @if let Some(problem) = &view.refused {
            div.callout.bad role="alert" {
                strong { "The file on disk is refused; the running configuration is kept." }
                p { (problem) " " a href="/console/config" { "Show the configuration" } }
            }
        }
        @if !view.restart.is_empty() {
            div.callout.warn {
                strong { "Some changes take effect only after a restart: " (view.restart.join(", ")) }
            }
        }
    }
}

fn tiles(all: &[ProjectBody], query: &Query) -> Markup {
    let counted = |state: ProjectState| all.iter().filter(|project| project.state == state).count();
    html! {
        section.tiles aria-label="Projects by state" {
            a.tile href=(address(query, "state", "")) aria-current=[query.state.is_empty().then_some("true")] {
                div.label { "All" }
                div.value { (number(all.len() as u64)) }
            }
            @for (state, n) in STATES.map(|state| (state, counted(state))) {
                @if n > 0 || query.state == state.as_str() {
                    a class={ "tile " (project_colour(state)) } href=(address(query, "state", state.as_str()))
                        aria-current=[(query.state == state.as_str()).then_some("true")] {
                        div.label { (state.as_str()) }
                        div.value { (number(n as u64)) }
                    }
                }
            }
        }
    }
}

/// `costs`: what each project cost this month.
fn table(rows: &[&ProjectBody], query: &Query, costs: &BTreeMap<String, f64>, now: DateTime<Utc>) -> Markup {
    // Without prices there is nothing to compare.
    let has_costs = !costs.is_empty();
    let heading = |label: &str, by: &str| {
        let is_own = query.sort == by;
        html! { a href=(address(query, "sort", by)) { (label) @if is_own { " ↓" } } }
    };
    html! {
        section.card {
            div.scroll {
                table {
                    thead {
                        tr {
                            th scope="col" { (heading("State", "")) }
                            th scope="col" { (heading("Project", "name")) }
                            th scope="col" { (heading("Behind", "behind")) }
                            th.wide scope="col" { (heading("Last run", "run")) }
                            th.wide scope="col" { "Next run" }
                            th.number.wide scope="col" { "Files" }
                            th.number.wide scope="col" { (heading("Vectors", "vectors")) }
                            @if has_costs { th.number.wide scope="col" { "Cost this month" } }
                        }
                    }
                    tbody {
                        @for project in rows {
                            @let cost = has_costs.then(|| costs.get(&project.project).copied().unwrap_or(0.0));
                            (row(project, cost, now))
                        }
                        @if rows.is_empty() {
                            tr.empty {
                                td colspan="8" {
                                    @if query.q.is_empty() && query.state.is_empty() {
                                        "No project is declared. Add one to reposync.toml."
                                    } @else {
                                        "No project matches. " a href="/console" { "Show all" }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn row(project: &ProjectBody, cost: Option<f64>, now: DateTime<Utc>) -> Markup {
    let address = format!("/console/projects/{}", encode(&project.project));
    let error: Option<String> = project.last_error.as_ref().map(|error| error.chars().take(200).collect());
    let is_bad = project.state == ProjectState::Failed;
    html! {
        tr {
            td { (project_badge(project.state)) }
            td {
                a.name href=(address) data-row { (project.project) }
                @if let Some(error) = error.filter(|_| is_bad || project.state == ProjectState::Partial) {
                    div class={ "note " @if is_bad { "bad" } } { (error) }
                } @else if project.repositories.len() > 1 {
                    div.note { (count(project.repositories.len() as u64, "repository", "repositories")) }
                }
            }
            td { (behind(project.commits_behind, project.seconds_behind)) }
            td.wide {
                @if let Some(run) = &project.running {
                    a href={ "/console/runs/" (encode(run)) } { "running now" }
                } @else if let Some(run) = &project.last_run {
                    a href={ "/console/runs/" (encode(&run.run)) } { (run.outcome.as_str()) ", " (ago(run.finished_at, now)) }
                } @else {
                    span.muted { "never" }
                }
            }
            td.wide {
                @if project.queued.is_some() { "queued" }
                @else if let Some(at) = project.retry_at.or(project.next_run) { (ago(at, now)) }
                @else { span.muted { "not scheduled" } }
            }
            td.number.wide { (number(project.files)) }
            td.number.wide { (number(project.vectors)) }
            @if let Some(cost) = cost { td.number.wide { (money(cost)) } }
        }
    }
}

fn pager(query: &Query, (at, pages, found): (usize, usize, usize)) -> Markup {
    html! {
        nav.pager aria-label="Pages" {
            span { (count(found as u64, "project", "projects")) @if pages > 1 { ", page " (at) " of " (pages) } }
            span.actions {
                @if at > 1 { a.button href=(address(query, "page", &(at - 1).to_string())) { "Previous" } }
                @if at < pages { a.button href=(address(query, "page", &(at + 1).to_string())) { "Next" } }
            }
        }
    }
}
