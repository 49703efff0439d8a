//! A unit: what it is, its failed attempts, and what an operator can do if it is dead.

use chrono::Utc;
use maud::{Markup, html};

use super::failure::PageResult;
use super::format::{ago, count, encode, moment, unit_badge};
use super::layout;
use super::queue::{may_retry, retry_button};
use super::visitor::Visitor;
use crate::api::error::ApiError;
use crate::api::extract::Id;
use crate::api::queue::{find_unit, scope_to_settle};
use crate::app::{UnitRow, UnitState};
use crate::model::ApiScope;

/// The page.
pub(super) async fn page(visitor: Visitor, Id(id): Id) -> PageResult {
    visitor.client.require(ApiScope::Read)?;
    let missing = || {
        let message = "there is no such unit: units are deleted once their run has taken the result, and when they are retried";
        ApiError::not_found(message)
    };
    let unit = find_unit(&visitor.client, &id).await?.ok_or_else(missing)?;
    let main = html! {
        div data-live="poll" {
            div.head {
                div {
                    div.crumbs { a href="/console/queue" { "Queue" } " /" }
                    div.title { h1 { (unit.repository) } (unit_badge(unit.state)) }
                }
                div.actions {
                    a.button href={ "/console/projects/" (encode(&unit.project)) } { "Project" }
                    a.button href={ "/console/runs/" (encode(&unit.run)) } { "Run" }
                }
            }
            (reason(&unit))
            (decisions(&visitor, &unit))
            (facts(&unit))
            (attempts(&unit))
        }
    };
    Ok(layout::page(&visitor, &format!("Unit {}", unit.id), "/console/queue", &main))
}

fn reason(unit: &UnitRow) -> Markup {
    let (title, colour) = match unit.state {
        UnitState::Dead => {
            (format!("Dead after {}", count(unit.attempts.into(), "attempt", "attempts")), "bad")
        }
        UnitState::Dropped => ("Dropped by an operator".to_owned(), "warn"),
        _ => ("The last attempt failed".to_owned(), "warn"),
    };
    html! {
        @if let Some(reason) = &unit.reason {
            div class={ "callout " (colour) } { strong { (title) } p { (reason) } }
        }
    }
}

fn decisions(visitor: &Visitor, unit: &UnitRow) -> Markup {
    let may_drop = unit.state == UnitState::Dead && visitor.client.has(scope_to_settle(false));
    html! {
        @if may_retry(visitor, unit) {
            section.card {
                header { h2 { "What now?" } }
                ul.items {
                    li.decision {
                        p { strong { "Retry" } ": the next run of the project works on the repository again." }
                        (retry_button(visitor, unit))
                    }
                    @if may_drop {
                        li.decision {
                            p {
                                strong { "Drop" } ": the unit leaves the list of dead ones. Its repository is left alone until its commit, "
                                "the configuration or the program changes."
                            }
                            // The button appears only once this is opened, which confirms it without a script.
                            details id="drop" {
                                summary.button { "Drop…" }
                                form method="post" action={ "/console/queue/" (unit.id) "/drop" } {
                                    (layout::csrf(visitor))
                                    button.danger type="submit" { "Drop unit " (unit.id) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn facts(unit: &UnitRow) -> Markup {
    let now = Utc::now();
    html! {
        section.card {
            div.body {
                dl.facts.columns {
                    dt { "Unit" } dd { code { (unit.id) } }
                    dt { "Project" } dd { a href={ "/console/projects/" (encode(&unit.project)) } { (unit.project) } }
                    dt { "Run" } dd { a href={ "/console/runs/" (encode(&unit.run)) } { code { (unit.run) } } }
                    dt { "Queued" } dd { (moment(unit.created_at)) }
                    dt { "State since" } dd { (moment(unit.changed_at)) }
                    @if unit.state == UnitState::Ready && unit.not_before > now {
                        dt { "Tried again" } dd { (ago(unit.not_before, now)) }
                    }
                    dt { "Attempts" } dd { (unit.attempts) }
                    dt { "Worker" } dd { @if let Some(worker) = &unit.worker { (worker) } @else { span.muted { "none yet" } } }
                }
            }
        }
    }
}

fn attempts(unit: &UnitRow) -> Markup {
    html! {
        @if !unit.history.is_empty() {
            section.card {
                header { h2 { (count(unit.history.len() as u64, "failed attempt", "failed attempts")) } }
                ul.items {
                    @for attempt in unit.history.iter().rev() {
                        li {
                            div.muted { (moment(attempt.at)) " on " span.break { (attempt.worker) } }
                            div.break { (attempt.reason) }
                        }
                    }
                }
            }
        }
    }
}
