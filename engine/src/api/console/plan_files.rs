//! The files of a plan, by repository.

use maud::{Markup, html};

use super::format::{count, number, short};
use crate::daemon::{Action, FilePlan, ProjectPlan, RepositoryPlan};

/// Files that are shown of a repository, and of a plan; further ones are counted.
const OF_REPOSITORY: usize = 200;
const OF_PLAN: usize = 2000;
/// The same of repositories.
const REPOSITORIES: usize = 200;

/// The repositories with changes, each with its files: first what leaves the index or is withheld.
pub(super) fn repositories(part: &ProjectPlan) -> Markup {
    let mut left = OF_PLAN;
    let mut repositories: Vec<&RepositoryPlan> = part.repositories.iter().collect();
    // So that removals are never among those that are only counted.
    repositories.sort_by_key(|one| one.files.iter().map(|file| order(file.action)).min().unwrap_or(u8::MAX));
    let shown = repositories.len().min(REPOSITORIES);
    let hidden = (repositories.len() - shown) as u64;
    html! {
        @for repository in &repositories[..shown] {
            (changed(repository, &mut left))
        }
        @if hidden > 0 {
            p.muted { (count(hidden, "more repository changes", "more repositories change")) "; " code { "GET /plans/{id}" } " lists all of them." }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_repositories_those_that_lose_files_are_shown() {
        let repository = |n: usize, action| {
            let file = FilePlan { action, path: format!("page-{n}.md"), from: None, reason: "why".into() };
            RepositoryPlan { files: vec![file], ..RepositoryPlan::leaving(&format!("repository-{n}")) }
        };
        let mut part = ProjectPlan::of("docs");
        part.repositories = (0..300).map(|n| repository(n, Action::Add)).collect();
        part.repositories.push(repository(300, Action::Remove));
        let shown = repositories(&part).into_string();
        assert!(shown.contains("page-300.md") && shown.contains("page-198.md"), "{shown}");
        assert!(!shown.contains("page-199.md") && shown.contains("101 more repositories change"), "{shown}");
    }
}
