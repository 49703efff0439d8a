//! The list of stored plans.

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use serde::Deserialize;

use super::failure::PageResult;
use super::format::{ago, badge, encode, money, number};
use super::layout;
use super::visitor::Visitor;
use crate::api::extract::Params;
use crate::app::{PlanSummary, PlanView};
use crate::model::ApiScope;

/// Which plans.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    project: String,
}

/// The page.
pub(super) async fn page(visitor: Visitor, Params(query): Params<Query>) -> PageResult {
    visitor.client.require(ApiScope::Read)?;
    let project = Some(query.project.trim()).filter(|name| !name.is_empty());
    let plans = visitor.client.handle.app().stored_plans(project).await?;
    let main = html! {
        div.head {
            div.title { h1 { "Plans" } }
            form.filters role="search" method="get" action="/console/plans" {
                label.grow { "Project" input type="search" name="project" value=(query.project) placeholder="Name of a project" data-search; }
                button type="submit" { "Filter" }
            }
        }
        div data-live="poll" {
            (table(&plans, Utc::now()))
            p.muted { "Plans are made on the page of a project. They are kept for a week, 100 at most." }
        }
    };
    Ok(layout::page(&visitor, "Plans", "/console/plans", &main))
}

fn table(plans: &[PlanView], now: DateTime<Utc>) -> Markup {
    html! {
        section.card {
            div.scroll {
                table {
                    thead {
                        tr {
                            th scope="col" { "State" } th scope="col" { "Plan" } th scope="col" { "Made" }
                            th.wide scope="col" { "Files" } th.wide.number scope="col" { "Texts" } th.wide.number scope="col" { "Cost" }
                        }
                    }
                    tbody {
                        @for plan in plans { (row(plan, now)) }
                        @if plans.is_empty() { tr.empty { td colspan="6" { "No plan." } } }
                    }
                }
            }
        }
    }
}

fn row(plan: &PlanView, now: DateTime<Utc>) -> Markup {
    html! {
        tr {
            td { (status(plan)) }
            td {
                a.name href={ "/console/plans/" (encode(&plan.id)) } data-row { (plan.project) }
                div.note { "by " (plan.created_by) @if let Some(by) = &plan.decided_by { ", " (plan.status) " by " (by) } }
            }
            td { (ago(plan.created_at, now)) }
            td.wide { @if let Some(summary) = &plan.summary { (files(summary)) } }
            td.wide.number { @if let Some(summary) = &plan.summary { (number(summary.estimate.texts)) } }
            td.wide.number { @if let Some(summary) = &plan.summary { (money(summary.estimate.price)) } }
        }
    }
}

/// What became of a plan.
pub(super) fn status(plan: &PlanView) -> Markup {
    match plan.status {
        "open" => badge("open", "busy"),
        "approved" => badge("approved", "good"),
        other => badge(other, ""),
    }
}

fn files(summary: &PlanSummary) -> Markup {
    let signs = [
        ("+", summary.added),
        ("~", summary.changed),
        (">", summary.moved),
        ("-", summary.removed),
        ("!", summary.withheld),
    ];
    let texts: Vec<String> =
        signs.iter().filter(|(_, n)| *n > 0).map(|(sign, n)| format!("{sign}{}", number(*n))).collect();
    html! { @if texts.is_empty() { span.muted { "no change" } } @else { (texts.join(" ")) } }
}
