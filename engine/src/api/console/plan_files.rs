//! The files of a plan, by repository.

use maud::{Markup, html};

use super::format::{count, number, short};
use crate::daemon::{Action, FilePlan, ProjectPlan, RepositoryPlan};

/// Files that are shown of a repository, and of a plan; further ones are counted.
const OF_REPOSITORY: usize = 200;
const OF_PLAN: usize = 2000;

/// The repositories with changes, each with its files: first what leaves the index or is withheld.
pub(super) fn repositories(part: &ProjectPlan) -> Markup {
    let mut left = OF_PLAN;
    html! {
        @for repository in &part.repositories {
            (changed(repository, &mut left))
        }
        @if part.repositories.is_empty() {
            section.card { div.body.muted { "Nothing changes: the index is as the configuration and the repositories say." } }
        }
        @if part.repositories_unchanged > 0 {
            p.muted { (count(part.repositories_unchanged, "repository is", "repositories are")) " unchanged." }
        }
    }
}

fn changed(repository: &RepositoryPlan, left: &mut usize) -> Markup {
    let mut files: Vec<&FilePlan> = repository.files.iter().collect();
    files.sort_by_key(|file| order(file.action));
    let shown = files.len().min(OF_REPOSITORY).min(*left);
    *left -= shown;
    let hidden = files.len() - shown;
    html! {
        section.card {
            header {
                h2.break { (repository.repository) }
                span.muted {
                    @match (repository.previous, repository.commit) {
                        (Some(previous), Some(commit)) => { code { (short(Some(previous))) } " to " code { (short(Some(commit))) } }
                        (None, Some(commit)) => { "at " code { (short(Some(commit))) } }
                        (_, None) => { "leaves the index" }
                    }
                    @if repository.unchanged > 0 { ", " (count(repository.unchanged, "file", "files")) " unchanged" }
                }
            }
            ul.items.changes {
                @for file in &files[..shown] { (line(file)) }
                @if hidden > 0 {
                    li.muted { "and " (number(hidden as u64)) " more; " code { "GET /plans/{id}" } " lists all of them" }
                }
            }
        }
    }
}

fn line(file: &FilePlan) -> Markup {
    let (class, label) = match file.action {
        Action::Add => ("good", "added"),
        Action::Change => ("busy", "changed"),
        Action::Move => ("busy", "moved"),
        Action::Remove => ("bad", "removed"),
        Action::Withhold => ("warn", "withheld"),
    };
    html! {
        li {
            span class={ "sign " (class) } title=(label) role="img" aria-label=(label) { (file.action.sign()) }
            code.break { @if let Some(from) = &file.from { (from) " → " } (file.path) }
            span.muted { (file.reason) }
        }
    }
}

/// What needs attention first.
fn order(action: Action) -> u8 {
    match action {
        Action::Withhold => 0,
        Action::Remove => 1,
        Action::Move => 2,
        Action::Change => 3,
        Action::Add => 4,
    }
}
