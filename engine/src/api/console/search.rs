//! Searching what is indexed.

use maud::{Markup, html};
use serde::Deserialize;

use super::failure::PageResult;
use super::format::{count, number, short};
use super::layout;
use super::visitor::Visitor;
use crate::api::extract::Params;
use crate::model::{ApiScope, Freshness};
use crate::search::{Answer, Found, Request, SnippetLine};

/// Matches of a page.
const MATCHES: usize = 20;

/// What to look for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    q: String,
    project: String,
    repository: String,
    language: String,
    path: String,
}

/// The page.
pub(super) async fn page(visitor: Visitor, Params(query): Params<Query>) -> PageResult {
    visitor.client.require(ApiScope::Query)?;
    let answer = if query.q.trim().is_empty() { None } else { Some(answer(&visitor, &query).await?) };
    let main = html! {
        div.head { div.title { h1 { "Search" } } }
        (form(&query))
        @if let Some(answer) = &answer { (results(answer)) }
    };
    let title = if query.q.is_empty() { "Search".to_owned() } else { format!("{} · Search", query.q) };
    Ok(layout::page(&visitor, &title, "/console/search", &main))
}

async fn answer(visitor: &Visitor, query: &Query) -> Result<Answer, super::failure::Failure> {
    let mut request = Request { top_k: MATCHES, ..Request::new(query.q.clone()) };
    for (facet, value) in [
        (&mut request.selection.repositories, &query.repository),
        (&mut request.selection.languages, &query.language),
        (&mut request.selection.paths, &query.path),
    ] {
        if !value.trim().is_empty() {
            facet.add(value.trim());
        }
    }
    let names: Vec<String> =
        Some(query.project.trim()).filter(|name| !name.is_empty()).map(str::to_owned).into_iter().collect();
    Ok(visitor.client.handle.app().search(&names, &request).await?)
}

fn form(query: &Query) -> Markup {
    let fields = [
        ("project", "Project", &query.project, "all"),
        ("repository", "Repository", &query.repository, "acme/*"),
        ("language", "Language", &query.language, "rust"),
        ("path", "Path", &query.path, "src/**"),
    ];
    html! {
        form.filters role="search" method="get" action="/console/search" {
            label.grow {
                "Question, words or a symbol"
                input type="search" name="q" value=(query.q) autofocus[query.q.is_empty()] data-search spellcheck="false";
            }
            @for (name, label, value, example) in fields {
                label { (label) input name=(name) value=(value) placeholder=(example) size="12" spellcheck="false"; }
            }
            button.primary type="submit" { "Search" }
        }
    }
}

fn results(answer: &Answer) -> Markup {
    html! {
        @for note in &answer.notes { div.callout.warn { (note) } }
        @if answer.weak && !answer.matches.is_empty() {
            div.callout.warn { "Nothing matches well: these are the nearest passages." }
        }
        p.muted role="status" {
            @if answer.matches.is_empty() { "Nothing found. Try fewer words or filters." }
            @else { (count(answer.matches.len() as u64, "match", "matches")) }
        }
        @for found in &answer.matches { (hit(found, &answer.repositories)) }
    }
}

fn hit(found: &Found, freshness: &[Freshness]) -> Markup {
    let (project, repository, path) =
        (found.text("project"), found.text("repository"), found.text("file_path"));
    let url = found.text("url");
    let lines = found.lines().map(|(start, end)| format!(":{start}-{end}")).unwrap_or_default();
    let title = format!("{path}{lines}");
    let fresh = freshness.iter().find(|one| one.project == project && one.repository == repository);
    let link = if url.starts_with("https://") || url.starts_with("http://") { Some(url) } else { None };
    let text: Vec<&str> = found.snippet.lines.iter().map(|line| line.text.as_str()).collect();
    let markdown =
        format!("[{repository} {title}]({url})\n\n```{}\n{}\n```", found.text("language"), text.join("\n"));
    html! {
        article.card.hit {
            header {
                span.break {
                    @if let Some(url) = link { a href=(url) data-row rel="noreferrer" { strong { (title) } } }
                    @else { strong tabindex="0" data-row { (title) } }
                    " " span.muted { (repository) }
                }
                span.actions {
                    @if !found.text("name").is_empty() { span.tag { (found.text("name")) } }
                    @if !found.text("language").is_empty() { span.tag { (found.text("language")) } }
                    @if !project.is_empty() { span.tag { (project) } }
                    button.plain type="button" data-copy=(markdown) { "Copy as Markdown" }
                }
            }
            pre tabindex="0" aria-label="Passage" { @for line in &found.snippet.lines { (shown(line)) } }
            @if let Some(fresh) = fresh { (currency(fresh)) }
        }
    }
}

fn currency(fresh: &Freshness) -> Markup {
    html! {
        div.body.muted {
            "Indexed at " code { (short(fresh.indexed_commit)) }
            @match (fresh.commits_behind, &fresh.unknown) {
                (Some(0), _) => { ", current" }
                (Some(n), _) => { ", " (count(n, "commit", "commits")) " behind" }
                (None, Some(why)) => { ", " (why) }
                (None, None) => {}
            }
        }
    }
}

/// A line with its number and the words of the query marked.
fn shown(line: &SnippetLine) -> Markup {
    let mut at = 0;
    let mut parts: Vec<(bool, &str)> = Vec::new();
    for &(start, end) in &line.matches {
        // The ranges are within the text and on its characters; one that is not is not marked.
        if let (Some(before), Some(word)) = (line.text.get(at..start), line.text.get(start..end)) {
            parts.extend([(false, before), (true, word)]);
            at = end;
        }
    }
    parts.push((false, line.text.get(at..).unwrap_or_default()));
    html! {
        @if line.line > 0 { span.line aria-hidden="true" { (number(line.line)) } }
        @for (is_word, text) in parts { @if is_word { mark { (text) } } @else { (text) } }
        "\n"
    }
}
