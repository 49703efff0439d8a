//! Projects, their repositories, and why a file is indexed or not, as text.

use chrono::{DateTime, SecondsFormat, Utc};

use super::fence::inline;
use crate::model::{Explanation, FileFacts, ProjectState, ProjectStatus, RepositoryStatus, StatusView};

/// Repositories that a project lists, and that its status shows.
const LISTED: usize = 30;
const SHOWN: usize = 100;

/// What to do about projects that were never indexed.
pub(super) fn never_indexed(names: &[String]) -> String {
    let which = if names.is_empty() { "any project".to_owned() } else { names.join(", ") };
    format!("nothing is indexed yet of {which}: a person has to run `reposync apply`, or start the daemon")
}

/// One paragraph for each project.
pub(super) fn list(status: &StatusView) -> String {
    let mut text = String::new();
    for project in status.projects.iter().filter(|project| project.enabled && project.declared) {
        text.push_str(&summary(project));
        let names: Vec<String> =
            project.repositories.iter().take(LISTED).map(|one| inline(&one.repository)).collect();
        let more = project.repositories.len().saturating_sub(names.len());
        let more = if more > 0 { format!(", and {more} more (see status)") } else { String::new() };
        if !names.is_empty() {
            text.push_str(&format!("repositories: {}{more}\n", names.join(", ")));
        }
        text.push('\n');
    }
    if text.is_empty() {
        text.push_str("No project is enabled: a person has to declare one in reposync.toml.\n");
    }
    text
}

/// A project with its repositories.
pub(super) fn detail(project: &ProjectStatus, at: DateTime<Utc>) -> String {
    let mut text = summary(project);
    if let Some(run) = &project.last_run {
        text.push_str(&format!("last run: {:?} at {}\n", run.outcome, time(run.finished_at)));
        if let Some(error) = &run.error {
            text.push_str(&format!("last error: {}\n", inline(error)));
        }
    }
    text.push_str(&format!("read at: {}\n", time(at)));
    for repository in project.repositories.iter().take(SHOWN) {
        text.push_str(&one(repository));
    }
    if project.repositories.len() > SHOWN {
        text.push_str(&format!("\nand {} more repositories\n", project.repositories.len() - SHOWN));
    }
    text
}

fn summary(project: &ProjectStatus) -> String {
    let outcome = project.last_run.as_ref().map(|run| run.outcome);
    let state = ProjectState::of(project, outcome, false);
    let failed = if project.failed_files > 0 {
        format!(", {} files failed", project.failed_files)
    } else {
        String::new()
    };
    let behind = match project.commits_behind {
        Some(count) => count.to_string(),
        None if project.vectors == 0 => "unknown (never indexed)".to_owned(),
        None => "unknown (not counted yet, or a branch was rewritten)".to_owned(),
    };
    format!(
        "project: {}\nstate: {}\nindexed: {} files in {} chunks{failed}\ncommits_behind: {behind}\n",
        inline(&project.project),
        state.as_str(),
        project.files,
        project.vectors,
    )
}

fn one(repository: &RepositoryStatus) -> String {
    let mut text =
        format!("\nrepository: {}\nstate: {}\n", inline(&repository.repository), repository.state.as_str());
    let commit =
        |sha: Option<crate::model::GitSha>| sha.map_or_else(|| "none".to_owned(), |sha| sha.to_string());
    text.push_str(&format!("commit: {}  head: {}\n", commit(repository.indexed), commit(repository.head)));
    let behind = repository.commits_behind.map_or_else(|| "unknown".to_owned(), |count| count.to_string());
    let synced = repository.synced_at.map_or_else(|| "never".to_owned(), time);
    text.push_str(&format!("commits_behind: {behind}  synced: {synced}  files: {}\n", repository.files));
    if repository.failed_files > 0 {
        text.push_str(&format!("failed files: {}\n", repository.failed_files));
    }
    if let Some(error) = &repository.error {
        text.push_str(&format!("error: {}\n", inline(error)));
    }
    text
}

/// Why a file is indexed or not, by project.
pub(super) fn explanation(explanation: &Explanation, repository: &str, path: &str) -> String {
    let mut text = String::new();
    for project in &explanation.projects {
        text.push_str(&format!("project: {}\n", inline(&project.project)));
        for file in &project.files {
            text.push_str(&facts(file));
        }
        match (&project.left_out, project.files.is_empty()) {
            (Some(reason), true) => text.push_str(&format!("state: not indexed: {}\n", inline(reason))),
            (Some(reason), false) => text.push_str(&format!("next run: removes it: {}\n", inline(reason))),
            (None, true) => text.push_str(&format!(
                "state: no run has found `{}` in `{}`: it is not in the indexed commit, `.gitattributes` excludes it, \
                 or the repository is not indexed (see status)\n",
                inline(path),
                inline(repository)
            )),
            (None, false) => {}
        }
        if !project.chunkers.is_empty() {
            text.push_str(&format!("chunkers: {}\n", inline(&project.chunkers.join(", then "))));
        }
        if let Some(error) = &project.error {
            text.push_str(&format!("error: {}\n", inline(error)));
        }
        text.push('\n');
    }
    if text.is_empty() {
        text.push_str("No project is enabled.\n");
    }
    text
}

fn facts(file: &FileFacts) -> String {
    let detail = file.detail.as_deref().map(|detail| format!(": {}", inline(detail))).unwrap_or_default();
    let mut text = format!("repository: {}\nstate: {}{detail}\n", inline(&file.repository), file.status);
    if let Some(commit) = file.commit {
        let when = file.synced_at.map(|at| format!("  written: {}", time(at))).unwrap_or_default();
        text.push_str(&format!("commit: {commit}{when}\n"));
    }
    text.push_str(&format!("chunks: {}\n", file.chunks));
    text
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
