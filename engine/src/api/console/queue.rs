//! The queue: workers, and the units of runs that they share, dead ones included.

use axum::extract::Extension;
use axum::response::{IntoResponse, Redirect};
use chrono::{DateTime, Utc};
use maud::{Markup, html};
use serde::Deserialize;

use super::failure::PageResult;
use super::format::{ago, badge, count, encode, number, span, unit_badge, unit_colour};
use super::layout;
use super::posted::Posted;
use super::visitor::Visitor;
use crate::api::audit::Trail;
use crate::api::error::ApiError;
use crate::api::extract::{Id, Params};
use crate::api::queue::settle_unit;
use crate::app::{DaemonRow, QueueCounts, QueueView, UnitQuery, UnitRow, UnitState, WorkerRow};
use crate::model::ApiScope;

/// Rows of a page.
const ROWS: usize = 100;
/// Characters of a reason in a row.
const REASON: usize = 200;

/// Which units.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    state: String,
    project: String,
    before: String,
    /// The project whose unit was just retried.
    retried: String,
}

impl Query {
    /// The state that is asked for; `None`: all units.
    fn state(&self) -> Option<UnitState> {
        UnitState::ALL.into_iter().find(|state| state.as_str() == self.state)
    }
}

/// The page.
pub(super) async fn page(visitor: Visitor, Params(query): Params<Query>) -> PageResult {
    visitor.client.require(ApiScope::Read)?;
    let app = visitor.client.handle.app();
    if !app.has_queue() {
        let message = "there is no queue: the state is a file, which one process writes to. Workers need a state in PostgreSQL";
        return Err(ApiError::not_found(message).into());
    }
    let project = Some(query.project.trim().to_owned()).filter(|name| !name.is_empty());
    let wanted = UnitQuery {
        state: query.state(),
        project,
        run: None,
        before: query.before.parse().ok(),
        limit: ROWS,
    };
    let view = app.queue(&wanted).await?;
    let now = Utc::now();
    let main = html! {
        div.head {
            div.title { h1 { "Queue" } }
            (filters(&query))
        }
        (retried(&visitor, &query.retried))
        // Older pages hardly change.
        div data-live=[wanted.before.is_none().then_some("poll")] {
            (notices(&view))
            (tiles(view.counts, &query))
            (workers(&view, now))
            @if view.daemons.len() > 1 { (daemons(&view.daemons, now)) }
            (units(&visitor, &view.units, now))
            (pager(&query, view.next))
            p.muted {
                "A unit is the work of a run on one repository. It is listed until its run has taken the result; dead units stay "
                "until they are retried or dropped, or their repository or the configuration changes."
                @if view.counts.fenced > 0 {
                    " " (count(view.counts.fenced, "lease was", "leases were")) " taken over from workers that did not renew them."
                }
            }
        }
    };
    Ok(layout::page(&visitor, "Queue", "/console/queue", &main))
}

/// Lets the next run work on a dead unit's repository again.
pub(super) async fn retry(Id(id): Id, Extension(trail): Extension<Trail>, posted: Posted) -> PageResult {
    let unit = settle_unit(&posted.visitor.client, &trail, &id, true).await?;
    let page = format!("/console/queue?retried={}", encode(&unit.project));
    Ok(Redirect::to(&page).into_response())
}

/// Takes a dead unit out of the list.
pub(super) async fn drop_unit(Id(id): Id, Extension(trail): Extension<Trail>, posted: Posted) -> PageResult {
    let unit = settle_unit(&posted.visitor.client, &trail, &id, false).await?;
    Ok(Redirect::to(&format!("/console/queue/{}", unit.id)).into_response())
}

/// True if the visitor may retry this unit.
pub(super) fn may_retry(visitor: &Visitor, unit: &UnitRow) -> bool {
    matches!(unit.state, UnitState::Dead | UnitState::Dropped) && visitor.client.has(ApiScope::Sync)
}

/// The button that retries a unit.
pub(super) fn retry_button(visitor: &Visitor, unit: &UnitRow) -> Markup {
    html! {
        form method="post" action={ "/console/queue/" (unit.id) "/retry" } {
            (layout::csrf(visitor))
            button type="submit" aria-label={ "Retry " (unit.repository) } { "Retry" }
        }
    }
}

/// The address of the page with another state.
fn address(query: &Query, state: &str) -> String {
    let fields = [("state", state), ("project", query.project.trim())];
    let given = fields.iter().filter(|(_, value)| !value.is_empty());
    let given: Vec<String> = given.map(|(name, value)| format!("{name}={}", encode(value))).collect();
    if given.is_empty() { "/console/queue".to_owned() } else { format!("/console/queue?{}", given.join("&")) }
}

fn filters(query: &Query) -> Markup {
    html! {
        form.filters role="search" method="get" action="/console/queue" {
            @if let Some(state) = query.state() { input type="hidden" name="state" value=(state.as_str()); }
            label.grow { "Project" input type="search" name="project" value=(query.project) placeholder="Name of a project" data-search; }
            button type="submit" { "Filter" }
        }
    }
}

/// What comes of a retry. The name comes from the address of the page, so it is checked.
fn retried(visitor: &Visitor, project: &str) -> Markup {
    let handle = &visitor.client.handle;
    let is_known = handle.has_project(project) && handle.app().config().project(project).is_some();
    html! {
        @if is_known {
            div.callout.busy role="status" {
                "The next run of " strong { (project) } " works on the repository again. "
                a href={ "/console/projects/" (encode(project)) } { "Start it on the page of the project" }
            }
        }
    }
}

fn notices(view: &QueueView) -> Markup {
    let QueueCounts { ready, running, .. } = view.counts;
    html! {
        @if ready > 0 && running == 0 && view.workers.is_empty() {
            div.callout.warn {
                strong { (count(ready, "unit waits", "units wait")) " and no worker was seen within the last minute" }
                p { "Start one with " code { "reposync worker" } ", or let runs do the work themselves with " code { "local = true" } " in " code { "[workers]" } "." }
            }
        }
    }
}

fn tiles(counts: QueueCounts, query: &Query) -> Markup {
    let QueueCounts { ready, running, done, dead, dropped, oldest_ready_seconds, .. } = counts;
    let all = ready + running + done + dead + dropped;
    let states = [
        (UnitState::Ready, ready, true),
        (UnitState::Running, running, true),
        (UnitState::Done, done, false),
        (UnitState::Dead, dead, true),
        (UnitState::Dropped, dropped, false),
    ];
    html! {
        section.tiles aria-label="Units by state" {
            a.tile href=(address(query, "")) aria-current=[query.state().is_none().then_some("true")] {
                div.label { "All" }
                div.value { (number(all)) }
            }
            @for (state, n, is_always_shown) in states {
                @let is_own = query.state() == Some(state);
                @if n > 0 || is_own || is_always_shown {
                    a class={ "tile " @if n > 0 { (unit_colour(state)) } } href=(address(query, state.as_str()))
                        aria-current=[is_own.then_some("true")] {
                        div.label { (state.as_str()) }
                        div.value { (number(n)) }
                        @if state == UnitState::Ready && oldest_ready_seconds > 0 {
                            div.note { "the oldest for " (span(oldest_ready_seconds)) }
                        }
                    }
                }
            }
        }
    }
}

fn workers(view: &QueueView, now: DateTime<Utc>) -> Markup {
    let sum =
        |of: fn(&WorkerRow) -> u32| view.workers.iter().map(|worker| u64::from(of(worker))).sum::<u64>();
    let (running, capacity) = (sum(|worker| worker.running), sum(|worker| worker.capacity));
    html! {
        section.card {
            header {
                h2 { (count(view.workers.len() as u64, "worker", "workers")) }
                @if capacity > 0 { span.muted { "working on " (number(running)) " of " (count(capacity, "unit", "units")) " at once" } }
            }
            div.scroll {
                table {
                    thead {
                        tr {
                            th scope="col" { "State" } th scope="col" { "Worker" } th scope="col" { "Units" }
                            th.wide scope="col" { "Version" } th.wide scope="col" { "Started" } th.wide scope="col" { "Seen" }
                        }
                    }
                    tbody {
                        @for worker in &view.workers { (worker_row(worker, now)) }
                        @if view.workers.is_empty() { tr.empty { td colspan="6" { "No worker was seen within the last minute." } } }
                    }
                }
            }
        }
    }
}

fn worker_row(worker: &WorkerRow, now: DateTime<Utc>) -> Markup {
    let is_other = worker.version != env!("CARGO_PKG_VERSION");
    html! {
        tr {
            td {
                @if worker.refused.is_some() { (badge("refuses", "bad")) }
                @else if worker.running > 0 { (badge("working", "busy")) }
                @else { (badge("waiting", "")) }
            }
            td {
                span.name tabindex="0" data-row { (worker.label) }
                div.note.narrow { "seen " (ago(worker.seen, now)) }
                @if let Some(reason) = &worker.refused {
                    div.note.bad { "It cannot use the newest configuration: " (reason) }
                }
                @if is_other { div.note { "Another version than this daemon's: it takes none of its units." } }
            }
            td { span.nowrap { (worker.running) " of " (worker.capacity) } }
            td.wide { (worker.version) }
            td.wide { (ago(worker.since, now)) }
            td.wide { (ago(worker.seen, now)) }
        }
    }
}

fn daemons(daemons: &[DaemonRow], now: DateTime<Utc>) -> Markup {
    html! {
        section.card {
            header { h2 { (count(daemons.len() as u64, "daemon", "daemons")) } }
            div.scroll {
                table {
                    thead {
                        tr {
                            th scope="col" { "State" } th scope="col" { "Daemon" } th.wide scope="col" { "Version" }
                            th.wide scope="col" { "Started" } th scope="col" { "Seen" }
                        }
                    }
                    tbody {
                        @for daemon in daemons {
                            tr {
                                td { @if daemon.dispatcher { (badge("dispatcher", "good")) } @else { (badge("standby", "")) } }
                                td {
                                    span.name { (daemon.label) }
                                    @if daemon.dispatcher { div.note { "It starts runs; the others answer the API." } }
                                }
                                td.wide { (daemon.version) }
                                td.wide { (ago(daemon.since, now)) }
                                td { (ago(daemon.seen, now)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Units in a table.
pub(super) fn units(visitor: &Visitor, units: &[UnitRow], now: DateTime<Utc>) -> Markup {
    let has_buttons = units.iter().any(|unit| may_retry(visitor, unit));
    html! {
        section.card {
            header { h2 { "Units" } }
            div.scroll {
                table {
                    thead {
                        tr {
                            th scope="col" { "State" } th scope="col" { "Repository" } th.wide.number scope="col" { "Attempts" }
                            th.wide scope="col" { "Worker" } th.wide scope="col" { "Since" }
                            @if has_buttons { th.wide scope="col" { "Action" } }
                        }
                    }
                    tbody {
                        @for unit in units {
                            tr {
                                (cells(unit, now))
                                @if has_buttons {
                                    td.wide { @if may_retry(visitor, unit) { (retry_button(visitor, unit)) } }
                                }
                            }
                        }
                        @if units.is_empty() { tr.empty { td colspan="6" { "No unit." } } }
                    }
                }
            }
        }
    }
}

fn cells(unit: &UnitRow, now: DateTime<Utc>) -> Markup {
    let reason: Option<String> = unit.reason.as_ref().map(|reason| reason.chars().take(REASON).collect());
    html! {
        td { (unit_badge(unit.state)) }
        td {
            a.name href={ "/console/queue/" (unit.id) } data-row { (unit.repository) }
            div.note { (unit.project) span.narrow { (ago(unit.changed_at, now)) } }
            @if let Some(reason) = reason { div class={ "note " @if unit.state == UnitState::Dead { "bad" } } { (reason) } }
            @if unit.state == UnitState::Ready && unit.not_before > now { div.note { "tried again " (ago(unit.not_before, now)) } }
        }
        td.wide.number { (unit.attempts) }
        td.wide.break { @if let Some(worker) = &unit.worker { (worker) } @else { span.muted { "none yet" } } }
        td.wide { (ago(unit.changed_at, now)) }
    }
}

fn pager(query: &Query, next: Option<i64>) -> Markup {
    let own = address(query, &query.state);
    html! {
        @if next.is_some() || !query.before.is_empty() {
            nav.pager aria-label="Pages" {
                span { @if !query.before.is_empty() { a href=(own) { "Newest units" } } }
                @if let Some(next) = next {
                    @let separator = if own.contains('?') { "&" } else { "?" };
                    a.button href={ (own) (separator) "before=" (next) } { "Older units" }
                }
            }
        }
    }
}
