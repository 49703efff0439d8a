//! The audit log.

use maud::{Markup, html};
use serde::Deserialize;

use super::failure::PageResult;
use super::format::{encode, moment};
use super::layout;
use super::visitor::Visitor;
use crate::api::extract::Params;
use crate::daemon::{AuditQuery, AuditRow};
use crate::model::ApiScope;

/// Rows of a page.
const ROWS: usize = 100;

/// Which entries.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    project: String,
    before: Option<i64>,
}

/// The page.
pub(super) async fn page(visitor: Visitor, Params(query): Params<Query>) -> PageResult {
    visitor.client.require(ApiScope::Admin)?;
    let project = Some(query.project.trim().to_owned()).filter(|name| !name.is_empty());
    let wanted = AuditQuery {
        limit: ROWS + 1,
        before: query.before,
        since: None,
        projects: project.map(|name| vec![name]),
    };
    let mut rows = visitor.client.handle.audit(wanted).await?;
    let more = rows.len() > ROWS;
    rows.truncate(ROWS);
    let next = rows.last().filter(|_| more).map(|row| row.id);
    let main = html! {
        div.head {
            div.title { h1 { "Audit log" } }
            form.filters role="search" method="get" action="/console/audit" {
                label.grow { "Project" input type="search" name="project" value=(query.project) placeholder="Name of a project" data-search; }
                button type="submit" { "Filter" }
            }
        }
        section.card {
            div.scroll tabindex="0" role="region" aria-label="Entries" {
                table {
                    thead {
                        tr {
                            th scope="col" { "When" } th.wide scope="col" { "Who" } th scope="col" { "What" }
                            th scope="col" { "Outcome" } th.wide scope="col" { "Projects" } th.wide scope="col" { "Address" }
                        }
                    }
                    tbody {
                        @for row in &rows { (entry(row)) }
                        @if rows.is_empty() { tr.empty { td colspan="6" { "No entry." } } }
                    }
                }
            }
        }
        nav.pager aria-label="Pages" {
            span { @if query.before.is_some() { a href="/console/audit" { "Newest entries" } } }
            @if let Some(next) = next {
                a.button href={ "/console/audit?project=" (encode(&query.project)) "&before=" (next) } { "Older entries" }
            }
        }
    };
    Ok(layout::page(&visitor, "Audit log", "/console/audit", &main))
}

fn entry(row: &AuditRow) -> Markup {
    let entry = &row.entry;
    html! {
        tr {
            td.nowrap { (moment(entry.at)) div.note.narrow { "by " (entry.who) } }
            td.wide.break { (entry.who) }
            td { code.break { (entry.what) } }
            td { (entry.outcome) }
            td.wide.break { (entry.projects.join(", ")) }
            td.wide { (entry.address.as_deref().unwrap_or("this machine")) }
        }
    }
}
