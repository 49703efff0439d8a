//! The files of a repository: which are indexed, which are not and why; and why one path is in or out.

use axum::extract::Path;
use maud::{Markup, html};
use serde::Deserialize;

use super::failure::PageResult;
use super::format::{badge, count, encode, number};
use super::layout;
use super::project::find;
use super::visitor::Visitor;
use crate::api::extract::Params;
use crate::api::projects::ProjectBody;
use crate::app::{FileView, FilesPage, FilesRequest};
use crate::model::{Explanation, ProjectExplanation};

/// Rows of a page.
const ROWS: usize = 200;
/// Of more repositories, a name is entered and not chosen from a list, which every page would contain.
const CHOICES: usize = 100;

/// Which files.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    repository: String,
    /// In the path.
    q: String,
    /// `indexed`, `skipped`, `failed`; empty: all of them.
    status: String,
    page: usize,
    /// The path whose state is explained.
    path: String,
}

/// The page.
pub(super) async fn page(
    visitor: Visitor,
    Path(name): Path<String>,
    Params(mut query): Params<Query>,
) -> PageResult {
    let project = find(&visitor, &name).await?;
    if query.repository.is_empty() {
        query.repository = project.repositories.first().map(|one| one.repository.clone()).unwrap_or_default();
    }
    let app = visitor.client.handle.app();
    let request = FilesRequest {
        project: name.clone(),
        repository: query.repository.clone(),
        path: query.q.trim().to_owned(),
        status: query.status.clone(),
        offset: query.page.saturating_sub(1).saturating_mul(ROWS),
        limit: ROWS,
    };
    let files = if query.repository.is_empty() { FilesPage::default() } else { app.files(&request).await? };
    let explained = match query.path.trim() {
        "" => None,
        path => Some(app.explain(std::slice::from_ref(&name), path.to_owned()).await?),
    };
    let main = html! {
        div.head {
            div {
                div.crumbs {
                    a href="/console" { "Projects" } " / " a href={ "/console/projects/" (encode(&name)) } { (name) } " /"
                }
                div.title { h1 { "Files" } }
            }
        }
        (question(&project, &query, explained.as_ref()))
        (filters(&project, &query))
        (recipes(&files))
        (table(&files))
        (pager(&project, &query, files.total))
    };
    Ok(layout::page(&visitor, &format!("Files of {name}"), "/console", &main))
}

fn question(project: &ProjectBody, query: &Query, explained: Option<&Explanation>) -> Markup {
    html! {
        section.card {
            header { h2 { "Why is a file indexed or not?" } }
            div.body {
                form.filters method="get" action={ "/console/projects/" (encode(&project.project)) "/files" } {
                    input type="hidden" name="repository" value=(query.repository);
                    label.grow {
                        "Path"
                        input name="path" value=(query.path) placeholder="docs/start.md" spellcheck="false";
                    }
                    button type="submit" { "Explain" }
                }
                div role="status" {
                    @for one in explained.iter().flat_map(|explanation| &explanation.projects) { (answer(&query.path, one)) }
                }
            }
        }
    }
}

fn answer(path: &str, one: &ProjectExplanation) -> Markup {
    html! {
        h3 { code.break { (path) } }
        dl.facts {
            @if let Some(reason) = &one.left_out { dt { "By its name" } dd { "left out: " (reason) } }
            @if one.files.is_empty() && one.left_out.is_none() {
                dt { "State" } dd { "no run has found a file of this path: it is not in the indexed commit, or .gitattributes excludes it" }
            }
            @for file in &one.files {
                dt { (file.repository) }
                dd {
                    (file.status) ", " (count(file.chunks, "chunk", "chunks"))
                    @if let Some(detail) = &file.detail { ": " (detail) }
                    @if let Some(commit) = &file.commit { ", at " code { (commit.to_string()) } }
                }
            }
            @if !one.chunkers.is_empty() { dt { "Chunkers" } dd { (one.chunkers.join(", then ")) } }
            @if let Some(error) = &one.error { dt { "Error" } dd { (error) } }
        }
    }
}

fn filters(project: &ProjectBody, query: &Query) -> Markup {
    html! {
        form.filters role="search" method="get" {
            label {
                "Repository"
                @if project.repositories.len() > CHOICES {
                    input name="repository" value=(query.repository) spellcheck="false";
                } @else {
                    select name="repository" {
                        @for one in &project.repositories {
                            option value=(one.repository) selected[one.repository == query.repository] { (one.repository) }
                        }
                    }
                }
            }
            label {
                "State"
                select name="status" {
                    @for (value, label) in [("", "all"), ("indexed", "indexed"), ("skipped", "skipped"), ("failed", "failed")] {
                        option value=(value) selected[value == query.status] { (label) }
                    }
                }
            }
            label.grow { "Path" input type="search" name="q" value=(query.q) placeholder="Part of a path" data-search; }
            button type="submit" { "Filter" }
        }
    }
}

/// The recipes of the files that match, where there are several: the next run writes files of an older one again.
fn recipes(files: &FilesPage) -> Markup {
    html! {
        @if files.recipes.len() > 1 {
            section.card {
                header { h2 { "Recipes" } }
                div.body {
                    dl.facts {
                        @for one in &files.recipes {
                            dt { (count(one.files, "file", "files")) } dd { (one.recipe) }
                        }
                    }
                }
            }
        }
    }
}

fn table(files: &FilesPage) -> Markup {
    html! {
        section.card {
            div.scroll tabindex="0" role="region" aria-label="Files" {
                table {
                    thead {
                        tr {
                            th.badges scope="col" { "State" } th scope="col" { "Path" }
                            th.number scope="col" { "Chunks" } th.wide scope="col" { "Recipe" }
                        }
                    }
                    tbody {
                        @for file in &files.files { (row(file)) }
                        @if files.files.is_empty() { tr.empty { td colspan="4" { "No file is recorded that matches." } } }
                    }
                }
            }
        }
    }
}

fn row(file: &FileView) -> Markup {
    let colour = match file.status {
        "synced" => "good",
        "failed" | "damaged" => "bad",
        _ => "",
    };
    html! {
        tr {
            td { (badge(file.status, colour)) }
            td {
                code.break { (file.path) }
                @if let Some(detail) = &file.detail { div class={ "note " @if colour == "bad" { "bad" } } { (detail) } }
            }
            td.number { (number(file.chunks)) }
            td.wide { @if let Some(recipe) = &file.recipe { (recipe) } }
        }
    }
}

fn pager(project: &ProjectBody, query: &Query, total: u64) -> Markup {
    let rows = ROWS as u64;
    let pages = total.div_ceil(rows).max(1);
    let at = (query.page as u64).clamp(1, pages);
    let page = |n: u64| {
        format!(
            "/console/projects/{}/files?repository={}&status={}&q={}&page={n}",
            encode(&project.project),
            encode(&query.repository),
            encode(&query.status),
            encode(&query.q)
        )
    };
    html! {
        nav.pager aria-label="Pages" {
            span { (count(total, "file", "files")) @if pages > 1 { ", page " (at) " of " (pages) } }
            span.actions {
                @if at > 1 { a.button href=(page(at - 1)) { "Previous" } }
                @if at < pages { a.button href=(page(at + 1)) { "Next" } }
            }
        }
    }
}
