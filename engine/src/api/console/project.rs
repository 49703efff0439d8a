//! A project: its repositories, what needs attention first, and the buttons that start runs.

use axum::extract::{Extension, Path};
use axum::response::{IntoResponse, Redirect};
use chrono::{DateTime, Utc};
use maud::{Markup, html};
use serde::Deserialize;

use super::failure::PageResult;
use super::format::{
    ago, behind, count, encode, moment, number, project_badge, repository_badge, run_badge, short,
};
use super::layout;
use super::posted::Posted;
use super::visitor::Visitor;
use crate::api::audit::Trail;
use crate::api::error::ApiError;
use crate::api::extract::Params;
use crate::api::projects::{ProjectBody, project_bodies};
use crate::model::{ApiScope, RepositoryState, RepositoryStatus};

/// Rows of a page.
const ROWS: usize = 100;
/// Characters of a setting that are shown: a list of repositories may be long.
const SETTING: usize = 2000;

/// Which repositories.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    q: String,
    page: usize,
}

/// The project of this name, as far as the visitor may see it.
pub(super) async fn find(visitor: &Visitor, name: &str) -> Result<ProjectBody, ApiError> {
    visitor.client.require(ApiScope::Read)?;
    let all = project_bodies(&visitor.client).await?;
    let found = all.into_iter().find(|project| project.project == name);
    found.ok_or_else(|| ApiError::not_found(format!("there is no project `{name}`")))
}

/// The page.
pub(super) async fn page(
    visitor: Visitor,
    Path(name): Path<String>,
    Params(query): Params<Query>,
) -> PageResult {
    let project = find(&visitor, &name).await?;
    let now = Utc::now();
    let main = html! {
        div data-live="poll" {
            div.head {
                div {
                    div.crumbs { a href="/console" { "Projects" } " /" }
                    div.title { h1 { (project.project) } (project_badge(project.state)) }
                }
                (actions(&visitor, &project))
            }
            (notices(&project))
            (tiles(&project, now))
            (repositories(&project, &query, now))
            (details(&project))
        }
        (settings(&visitor, &project))
    };
    Ok(layout::page(&visitor, &name, "/console", &main))
}

/// Starts a run.
pub(super) async fn sync(
    Path(name): Path<String>,
    Extension(trail): Extension<Trail>,
    posted: Posted,
) -> PageResult {
    trail.about(std::slice::from_ref(&name));
    let client = &posted.visitor.client;
    client.require(ApiScope::Sync)?;
    let (deletes, cost) = (posted.has("allow_deletes"), posted.has("allow_cost"));
    if deletes || cost {
        client.require(ApiScope::Admin)?;
    }
    let accepted = client.handle.sync(Some(name), posted.has("full"), deletes, cost).await?;
    Ok(Redirect::to(&format!("/console/runs/{}", encode(&accepted.run))).into_response())
}

fn actions(visitor: &Visitor, project: &ProjectBody) -> Markup {
    let base = format!("/console/projects/{}", encode(&project.project));
    let may_run = visitor.client.has(ApiScope::Sync) && project.enabled && project.declared;
    html! {
        div.actions {
            a.button href={ (base) "/files" } { "Files" }
            a.button href={ "/console/runs?project=" (encode(&project.project)) } { "Runs" }
            @if may_run {
                form method="post" action={ (base) "/plan" } {
                    (layout::csrf(visitor))
                    button type="submit" title="See what a run would do, and approve it" { "Plan" }
                }
                form method="post" action={ (base) "/sync" } {
                    (layout::csrf(visitor))
                    button type="submit" name="full" value="1" title="Compare everything again, whatever is recorded" { "Full sync" }
                }
                form method="post" action={ (base) "/sync" } {
                    (layout::csrf(visitor))
                    button.primary type="submit" { "Sync now" }
                }
            }
        }
        @if may_run && visitor.client.has(ApiScope::Admin) {
            @for withheld in project.last_run.iter().flat_map(|run| &run.withheld) {
                @let (field, label) = match withheld.guard {
                    crate::model::GuardKind::Deletion => ("allow_deletes", "Allow these deletions"),
                    crate::model::GuardKind::Spending => ("allow_cost", "Allow this cost"),
                };
                form.actions method="post" action={ (base) "/sync" } {
                    (layout::csrf(visitor))
                    button.danger type="submit" name=(field) value="1" { (label) " and sync" }
                }
            }
        }
    }
}

fn notices(project: &ProjectBody) -> Markup {
    html! {
        @if let Some(error) = &project.last_error {
            div.callout.bad role="alert" { strong { "Last error" } p { (error) } }
        }
        @for withheld in project.last_run.iter().flat_map(|run| &run.withheld) {
            div.callout.warn { strong { "Withheld by the " (withheld.guard.as_str()) " guard" } p { (withheld.message) } }
        }
        @if let Some(run) = &project.running {
            div.callout.busy { "A run is under way. " a href={ "/console/runs/" (encode(run)) } { "Follow it" } }
        }
        @for wait in &project.waits {
            div.callout.warn {
                strong {
                    "Waits" @if let Some(stage) = &wait.stage { " for " code { (stage) } }
                    @if let Some(until) = wait.until { " until " (moment(until)) }
                }
                p { (wait.reason) }
            }
        }
    }
}

fn tiles(project: &ProjectBody, now: DateTime<Utc>) -> Markup {
    html! {
        section.tiles aria-label="Summary" {
            div.tile { div.label { "Behind" } div.value { (behind(project.commits_behind, project.seconds_behind)) } }
            div.tile { div.label { "Files" } div.value { (number(project.files)) } }
            div.tile { div.label { "Vectors" } div.value { (number(project.vectors)) } }
            div class={ "tile " @if project.failed_files > 0 { "bad" } } {
                div.label { "Failed files" } div.value { (number(project.failed_files)) }
            }
            div.tile {
                div.label { "Last run" }
                div.value {
                    @if let Some(run) = &project.last_run { (ago(run.finished_at, now)) } @else { "never" }
                }
                @if let Some(run) = &project.last_run {
                    a href={ "/console/runs/" (encode(&run.run)) } { (run_badge("finished", Some(run.outcome))) }
                }
            }
            div.tile {
                div.label { @if project.retry_at.is_some() { "Next try" } @else { "Next run" } }
                div.value {
                    @if let Some(at) = project.retry_at.or(project.next_run) { (ago(at, now)) } @else { "not scheduled" }
                }
            }
        }
    }
}

fn repositories(project: &ProjectBody, query: &Query, now: DateTime<Utc>) -> Markup {
    let wanted = query.q.trim().to_lowercase();
    let matches = |one: &&RepositoryStatus| one.repository.to_lowercase().contains(&wanted);
    let rows: Vec<&RepositoryStatus> = project.repositories.iter().filter(matches).collect();
    let pages = rows.len().div_ceil(ROWS).max(1);
    let at = query.page.clamp(1, pages);
    let shown = &rows[(at - 1) * ROWS..(at * ROWS).min(rows.len())];
    let other =
        project.repositories.iter().filter(|one| one.state != RepositoryState::Current).count() as u64;
    let base = format!("/console/projects/{}", encode(&project.project));
    let page = |n: usize| format!("{base}?q={}&page={n}", encode(&query.q));
    html! {
        section.card {
            header {
                h2 { (count(project.repositories.len() as u64, "repository", "repositories")) }
                span.muted { @if other == 0 { "all current" } @else { (number(other)) " not current" } }
            }
            @if project.repositories.len() > 10 {
                form.filters.body role="search" method="get" action=(base) {
                    label.grow {
                        "Repository"
                        input type="search" name="q" value=(query.q) placeholder="Filter repositories" data-search;
                    }
                    button type="submit" { "Filter" }
                }
            }
            div.scroll {
                table {
                    thead {
                        tr {
                            th scope="col" { "State" } th scope="col" { "Repository" } th scope="col" { "Behind" }
                            th.wide scope="col" { "Indexed" } th.wide scope="col" { "Head" } th.wide scope="col" { "Synced" }
                            th.number.wide scope="col" { "Files" }
                        }
                    }
                    tbody {
                        @for one in shown { (row(&base, one, now)) }
                        @if shown.is_empty() { tr.empty { td colspan="7" { "No repository matches." } } }
                    }
                }
            }
        }
        @if pages > 1 {
            nav.pager aria-label="Pages" {
                span { "Page " (at) " of " (pages) }
                span.actions {
                    @if at > 1 { a.button href=(page(at - 1)) { "Previous" } }
                    @if at < pages { a.button href=(page(at + 1)) { "Next" } }
                }
            }
        }
    }
}

fn row(base: &str, one: &RepositoryStatus, now: DateTime<Utc>) -> Markup {
    html! {
        tr {
            td { (repository_badge(one.state)) }
            td {
                a.name href={ (base) "/files?repository=" (encode(&one.repository)) } data-row { (one.repository) }
                @if let Some(error) = &one.error { div.note.bad { (error) } }
                @if one.failed_files > 0 { div.note.bad { (count(one.failed_files, "file failed", "files failed")) } }
                @if let Some(since) = one.orphan_since { div.note { "missing at the source, first seen " (ago(since, now)) } }
            }
            td { (behind(one.commits_behind, None)) }
            td.wide { code { (short(one.indexed)) } }
            td.wide { code { (short(one.head)) } }
            td.wide { @if let Some(at) = one.synced_at { (ago(at, now)) } @else { span.muted { "never" } } }
            td.number.wide { (number(one.files)) }
        }
    }
}

/// The settings in force: the project's own, and with the scope `admin` those of its stages.
fn settings(visitor: &Visitor, project: &ProjectBody) -> Markup {
    let with_stages = visitor.client.has(ApiScope::Admin);
    let settings = visitor.client.handle.app().project_settings(&project.project, with_stages);
    html! {
        @if let Some(settings) = settings {
            section.card {
                header { h2 { "Settings" } span.muted { "defaults filled in, secrets masked" } }
                pre tabindex="0" aria-label="Settings" { @for line in settings.lines() { (cut(line)) "\n" } }
            }
        }
    }
}

/// A line, with the end of a long one replaced by its length.
fn cut(line: &str) -> String {
    match line.char_indices().nth(SETTING) {
        Some((at, _)) => {
            let more = line[at..].chars().count() as u64;
            format!("{} … ({} more)", &line[..at], count(more, "character", "characters"))
        }
        None => line.to_owned(),
    }
}

fn details(project: &ProjectBody) -> Markup {
    html! {
        section.card {
            header { h2 { "Where it lives" } }
            div.body {
                dl.facts {
                    dt { "Place" } dd { code { (project.place) } }
                    @for target in project.targets.iter().filter(|target| target.place != project.place) {
                        dt { (target.state.as_str()) } dd { code { (target.place) } }
                    }
                    @if let Some(commit) = &project.indexed_commit { dt { "Indexed commit" } dd { code { (commit) } } }
                    @if let Some(head) = &project.head { dt { "Head" } dd { code { (head) } } }
                    @if !project.declared { dt { "Declared" } dd { "no longer in the file; removed only with " code { "--prune" } } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_setting_is_cut() {
        assert_eq!(cut("enabled = true"), "enabled = true");
        let long = "ä".repeat(SETTING + 1);
        assert_eq!(cut(&long), format!("{} … (1 character more)", "ä".repeat(SETTING)));
        assert_eq!(cut(&long[2..]), long[2..]);
    }
}
