//! Usage over time: charts, and a row for each project.

use chrono::{Days, NaiveDate, Utc};
use maud::{Markup, html};
use serde::Deserialize;

use super::chart::{COLOURS, Chart, Form, Series, Shown, even, time};
use super::failure::PageResult;
use super::format::{count, duration, encode, money, number, span};
use super::layout;
use super::visitor::Visitor;
use crate::api::extract::Params;
use crate::api::usage::read;
use crate::app::{DayUsage, ProjectUsage, UsageFigures, UsageRequest, UsageView};
use crate::model::ApiScope;

/// Rows of projects.
const ROWS: usize = 100;
/// The times that can be chosen, in days.
const TIMES: [(u64, &str); 4] = [(7, "7 days"), (30, "30 days"), (90, "90 days"), (365, "a year")];

/// Which usage.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    project: String,
    days: u64,
}

impl Default for Query {
    fn default() -> Self {
        Self { project: String::new(), days: 30 }
    }
}

/// The page.
pub(super) async fn page(visitor: Visitor, Params(query): Params<Query>) -> PageResult {
    visitor.client.require(ApiScope::Read)?;
    let until = Utc::now().date_naive();
    let since = until.checked_sub_days(Days::new(query.days.clamp(1, 400) - 1));
    let project = Some(query.project.trim().to_owned()).filter(|name| !name.is_empty());
    let request = UsageRequest { since, until: Some(until), project };
    let usage = read(&visitor.client, &request).await?;
    let main = html! {
        div.head {
            div.title { h1 { "Usage" } }
            (filters(&query))
        }
        (tiles(&usage.total))
        div.charts { (charts(&usage)) }
        (projects(&usage, &query))
        p.muted { "Days are in UTC. Usage is kept for 400 days. How far projects are behind is sampled every five minutes." }
    };
    Ok(layout::page(&visitor, "Usage", "/console/usage", &main))
}

fn filters(query: &Query) -> Markup {
    html! {
        form.filters role="search" method="get" action="/console/usage" {
            label {
                "Time"
                select name="days" {
                    @for (days, label) in TIMES { option value=(days) selected[days == query.days] { (label) } }
                }
            }
            label.grow { "Project" input type="search" name="project" value=(query.project) placeholder="all" data-search; }
            button type="submit" { "Show" }
        }
    }
}

fn tiles(total: &UsageFigures) -> Markup {
    let texts = total.texts + total.cached;
    html! {
        section.tiles aria-label="In this time" {
            div.tile {
                div.label { "Runs" }
                div.value { (number(total.runs)) }
                @if total.failed_runs > 0 { div.note.bad { (number(total.failed_runs)) " failed" } }
            }
            div.tile {
                div.label { "Texts embedded" }
                div.value { (number(total.texts)) }
                @if total.cached > 0 { div.note { (100 * total.cached / texts) " % of all from the cache" } }
            }
            div.tile { div.label { "Tokens" } div.value title=(number(total.tokens)) { (whole(total.tokens as f64)) } }
            div.tile { div.label { "Cost" } div.value { (money(total.price)) } }
            div.tile {
                div.label { "Behind, 95th percentile" }
                div.value { @if let Some(behind) = total.behind_seconds { (rough(behind.p95)) } @else { "unknown" } }
            }
        }
    }
}

fn charts(usage: &UsageView) -> Markup {
    let days: Vec<NaiveDate> = usage.days.iter().map(|one| one.day).collect();
    let series = |label: &str, form, of: &dyn Fn(&UsageFigures) -> Option<f64>| Series {
        label: label.to_owned(),
        form,
        values: usage.days.iter().map(|DayUsage { figures, .. }| of(figures)).collect(),
    };
    let chart = |title: &'static str, series: Vec<Series>, shown: Shown, scale: fn(f64) -> f64| Chart {
        title,
        days: &days,
        series,
        shown,
        right: money,
        scale,
    };
    let behind = vec![
        series("median", Form::Line, &|day| Some(day.behind_seconds?.p50)),
        series("95th percentile", Form::Line, &|day| Some(day.behind_seconds?.p95)),
    ];
    let mut tokens = vec![series("tokens", Form::Bars, &|day| Some(day.tokens as f64))];
    if usage.total.price > 0.0 {
        tokens.push(series("cost", Form::RightLine, &|day| Some(day.price)));
    }
    let runs = vec![
        series("median", Form::Line, &|day| Some(day.run_seconds?.p50)),
        series("95th percentile", Form::Line, &|day| Some(day.run_seconds?.p95)),
    ];
    html! {
        (chart("How far projects were behind", behind, rough, time).render())
        (chart("Tokens and cost", tokens, whole, even).render())
        (chart("How long runs took", runs, taken, time).render())
        (chart("Failures by stage", failures(usage), whole, even).render())
    }
}

/// A series for each of the stages that failed most, and one for all others.
fn failures(usage: &UsageView) -> Vec<Series> {
    let mut stages: Vec<(&String, &u64)> = usage.total.errors.iter().collect();
    stages.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    let (most, others) = stages.split_at(stages.len().min(COLOURS - 1));
    let sum = |day: &DayUsage, stages: &[(&String, &u64)]| {
        let of = |(stage, _): &(&String, &u64)| day.figures.errors.get(*stage).copied().unwrap_or(0);
        stages.iter().map(of).sum::<u64>() as f64
    };
    let series = |label: String, stages: &[(&String, &u64)]| Series {
        label,
        form: Form::Bars,
        values: usage.days.iter().map(|day| Some(sum(day, stages))).collect(),
    };
    let mut all: Vec<Series> = most.chunks(1).map(|stage| series(stage[0].0.clone(), stage)).collect();
    if !others.is_empty() {
        all.push(series("others".to_owned(), others));
    }
    all
}

fn projects(usage: &UsageView, query: &Query) -> Markup {
    let mut rows: Vec<&ProjectUsage> = usage.projects.iter().collect();
    let by = |one: &ProjectUsage| (one.figures.price, one.figures.tokens as f64, one.figures.runs as f64);
    rows.sort_by(|a, b| by(b).partial_cmp(&by(a)).unwrap_or(std::cmp::Ordering::Equal));
    let hidden = rows.len().saturating_sub(ROWS);
    html! {
        section.card {
            header { h2 { (count(usage.projects.len() as u64, "project", "projects")) } span.muted { "most expensive first" } }
            div.scroll {
                table {
                    thead {
                        tr {
                            th scope="col" { "Project" } th.number scope="col" { "Runs" } th.number.wide scope="col" { "Failed" }
                            th.number.wide scope="col" { "Texts" } th.number.wide scope="col" { "Tokens" } th.number scope="col" { "Cost" }
                            th.number.wide scope="col" { "Run takes" } th.number.wide scope="col" { "Behind" }
                        }
                    }
                    tbody {
                        @for one in rows.iter().take(ROWS) { (row(one, query)) }
                        @if rows.is_empty() { tr.empty { td colspan="8" { "No run in this time." } } }
                    }
                }
            }
        }
        @if hidden > 0 { p.muted { "and " (count(hidden as u64, "project", "projects")) " more" } }
    }
}

fn row(one: &ProjectUsage, query: &Query) -> Markup {
    let figures = &one.figures;
    html! {
        tr {
            td { a.name href={ "/console/usage?days=" (query.days) "&project=" (encode(&one.project)) } data-row { (one.project) } }
            td.number { (number(figures.runs)) }
            td.number.wide { (number(figures.failed_runs)) }
            td.number.wide { (number(figures.texts)) }
            td.number.wide { (number(figures.tokens)) }
            td.number { (money(figures.price)) }
            td.number.wide { @if let Some(run) = figures.run_seconds { (duration(run.p95)) } }
            td.number.wide { @if let Some(behind) = figures.behind_seconds { (rough(behind.p95)) } }
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative; saturates")]
fn rough(seconds: f64) -> String {
    span(seconds as u64)
}

fn taken(seconds: f64) -> String {
    if seconds > 0.0 { duration(seconds) } else { "0 s".to_owned() }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative; saturates")]
fn whole(n: f64) -> String {
    match n {
        n if n >= 1e6 && n % 1e6 == 0.0 => format!("{} M", number((n / 1e6) as u64)),
        n if n >= 1e6 => format!("{:.1} M", n / 1e6),
        n => number(n as u64),
    }
}
