//! A stored plan: what it changes and costs, and the buttons that approve or discard it.

use axum::extract::{Extension, Path};
use axum::response::{IntoResponse, Redirect};
use maud::{Markup, html};

use super::failure::PageResult;
use super::format::{count, encode, moment, money, number};
use super::plans::status;
use super::posted::Posted;
use super::visitor::Visitor;
use super::{layout, plan_files, remarks};
use crate::api::audit::Trail;
use crate::api::extract::Id;
use crate::api::plans::{approve_plan, discard_plan, make_plan, may_decide};
use crate::app::{PlanSummary, PlanView, StorePlanRequest};
use crate::daemon::ProjectPlan;
use crate::model::{ApiScope, GuardKind};

/// Failures that are shown; further ones are counted.
const FAILURES: usize = 100;

/// The page.
pub(super) async fn page(visitor: Visitor, Id(id): Id) -> PageResult {
    visitor.client.require(ApiScope::Read)?;
    let plan = visitor.client.handle.app().whole_stored_plan(&id).await?;
    let part = plan.plan.as_ref().and_then(|plan| plan.projects.first());
    let main = html! {
        div.head {
            div {
                div.crumbs { a href="/console/plans" { "Plans" } " /" }
                div.title { h1 { (plan.project) } (status(&plan)) }
            }
            (actions(&visitor, &plan))
        }
        (notices(&visitor, &plan, part))
        @if let Some(summary) = &plan.summary { (bill(summary)) }
        (facts(&plan))
        @if let Some(part) = part { (plan_files::repositories(part)) (remarks(part)) }
    };
    Ok(layout::page(&visitor, &format!("Plan of {}", plan.project), "/console/plans", &main))
}

/// Makes a plan of a project.
pub(super) async fn make(
    Path(name): Path<String>,
    Extension(trail): Extension<Trail>,
    posted: Posted,
) -> PageResult {
    trail.about(std::slice::from_ref(&name));
    let client = &posted.visitor.client;
    client.require(ApiScope::Sync)?;
    let request = StorePlanRequest {
        project: name,
        full: posted.has("full"),
        allow_deletes: posted.has("allow_deletes"),
        allow_cost: posted.has("allow_cost"),
        exact: false,
    };
    let plan = make_plan(client, &request).await?;
    Ok(Redirect::to(&format!("/console/plans/{}", encode(&plan.id))).into_response())
}

/// Approves a plan, and leads to its run.
pub(super) async fn approve(Id(id): Id, Extension(trail): Extension<Trail>, posted: Posted) -> PageResult {
    let approved = approve_plan(&posted.visitor.client, &trail, &id).await?;
    Ok(Redirect::to(&format!("/console/runs/{}", encode(&approved.run))).into_response())
}

/// Discards a plan.
pub(super) async fn discard(Id(id): Id, Extension(trail): Extension<Trail>, posted: Posted) -> PageResult {
    let plan = discard_plan(&posted.visitor.client, &trail, &id).await?;
    Ok(Redirect::to(&format!("/console/plans/{}", encode(&plan.id))).into_response())
}

fn actions(visitor: &Visitor, plan: &PlanView) -> Markup {
    let base = format!("/console/plans/{}", encode(&plan.id));
    let may = plan.status == "open" && may_decide(&visitor.client, plan);
    html! {
        div.actions {
            a.button href={ "/console/projects/" (encode(&plan.project)) } { "Project" }
            @if let Some(run) = &plan.run { a.button href={ "/console/runs/" (encode(run)) } { "Run" } }
            @if may {
                form method="post" action={ (base) "/discard" } {
                    (layout::csrf(visitor))
                    button type="submit" { "Discard" }
                }
                @if plan.stale.is_none() {
                    form method="post" action={ (base) "/approve" } {
                        (layout::csrf(visitor))
                        button.primary type="submit" { "Approve" }
                    }
                }
            }
        }
    }
}

fn notices(visitor: &Visitor, plan: &PlanView, part: Option<&ProjectPlan>) -> Markup {
    let is_open = plan.status == "open";
    let lacks_admin = is_open && visitor.client.has(ApiScope::Sync) && !may_decide(&visitor.client, plan);
    html! {
        @if let Some(stale) = &plan.stale {
            div.callout.warn role="alert" { strong { "This plan cannot be approved any more" } p { (stale) ". Make a new one on the page of the project." } }
        }
        @if lacks_admin {
            div.callout.warn { "A guard withholds or releases a part of this plan: approving it needs a token with the scope " code { "admin" } "." }
        }
        @for withheld in part.iter().flat_map(|part| &part.guards) {
            @let (field, label) = match withheld.guard {
                GuardKind::Deletion => ("allow_deletes", "Plan again with these deletions"),
                GuardKind::Spending => ("allow_cost", "Plan again with this cost"),
            };
            div.callout.warn {
                strong { "Withheld by the " (withheld.guard.as_str()) " guard" }
                p { (withheld.message) }
                @if is_open && visitor.client.has(ApiScope::Admin) {
                    form.actions method="post" action={ "/console/projects/" (encode(&plan.project)) "/plan" } {
                        (layout::csrf(visitor))
                        button.danger type="submit" name=(field) value="1" { (label) }
                    }
                }
            }
        }
        @let failures = part.iter().flat_map(|part| part.error.iter().chain(&part.failures));
        @let more = failures.clone().count().saturating_sub(FAILURES) as u64;
        @for failure in failures.take(FAILURES) {
            div.callout.bad {
                strong { @if let Some(repository) = &failure.repository { (repository) ": " } (failure.error) }
                @if let Some(hint) = &failure.hint { p { (hint) } }
            }
        }
        @if more > 0 {
            div.callout.bad { (count(more, "more failure", "more failures")) "; " code { "GET /plans/{id}" } " lists all of them." }
        }
    }
}

fn bill(summary: &PlanSummary) -> Markup {
    let estimate = &summary.estimate;
    let changes = [
        ("Added", summary.added, ""),
        ("Changed", summary.changed, ""),
        ("Moved", summary.moved, ""),
        ("Removed", summary.removed, "warn"),
        ("Withheld", summary.withheld, "warn"),
    ];
    html! {
        section.tiles aria-label="Files" {
            @for (label, n, colour) in changes {
                div class={ "tile " @if n > 0 { (colour) } } { div.label { (label) } div.value { (number(n)) } }
            }
        }
        section.card {
            header { h2 { "Bill" } span.muted { @if summary.exact { "counted" } @else { "estimated" } } }
            div.body {
                div.tiles {
                    div.tile { div.label { "Texts to embed" } div.value { (number(estimate.texts)) } }
                    div.tile { div.label { "Tokens" } div.value { (number(estimate.tokens)) } }
                    div.tile { div.label { "Cost" } div.value { (money(estimate.price)) } }
                    div.tile { div.label { "Vectors written" } div.value { (number(estimate.vectors_written)) } }
                    div.tile { div.label { "Vectors deleted" } div.value { (number(estimate.vectors_deleted)) } }
                }
                p.muted {
                    (count(estimate.chunks, "chunk", "chunks")) ", " (count(estimate.texts_cached, "text", "texts")) " from the cache, "
                    (count(estimate.requests, "request", "requests")) " to the embedder."
                }
            }
        }
    }
}

fn facts(plan: &PlanView) -> Markup {
    let options = plan.summary.iter().flat_map(|summary| {
        let options = [
            (summary.full, "everything is compared again"),
            (summary.allow_deletes, "deletions are allowed"),
            (summary.allow_cost, "any cost is allowed"),
        ];
        options.into_iter().filter(|(is_set, _)| *is_set).map(|(_, label)| label)
    });
    let options: Vec<&str> = options.collect();
    html! {
        section.card {
            div.body {
                dl.facts.columns {
                    dt { "Plan" } dd { code { (plan.id) } }
                    dt { "Made" } dd { (moment(plan.created_at)) " by " (plan.created_by) }
                    @if let (Some(at), Some(by)) = (plan.decided_at, &plan.decided_by) {
                        @if plan.status != "open" { dt { "Decided" } dd { (plan.status) " " (moment(at)) " by " (by) } }
                    }
                    dt { "Kept until" } dd { (moment(plan.expires_at)) }
                    @if !options.is_empty() { dt { "Options" } dd { (options.join(", ")) } }
                    @if let Some(run) = &plan.run {
                        dt { "Run" } dd { a href={ "/console/runs/" (encode(run)) } { code { (run) } } }
                    }
                }
            }
        }
    }
}

fn remarks(part: &ProjectPlan) -> Markup {
    html! {
        @if part.secrets_found > 0 {
            section.card {
                header { h2 { (count(part.secrets_found, "secret", "secrets")) " would be indexed" } }
                ul.items {
                    @for found in &part.secrets {
                        li.break { strong { (found.repository) } " " code { (found.path) ":" (found.line) } " " span.muted { (found.rule) } }
                    }
                }
            }
        }
        @if !part.skipped.is_empty() { section.card { (remarks::skipped(&part.skipped)) } }
        @if !part.notes.is_empty() { section.card { (remarks::notes(&part.notes)) } }
    }
}
