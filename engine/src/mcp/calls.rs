//! Runs the tools: arguments to requests, results to texts.

use std::collections::BTreeSet;
use std::time::Duration;

use super::error::{Answered, explained};
use super::tools::{ExplainArgs, GrepArgs, ListArgs, ReadArgs, SearchArgs, SearchMode, StatusArgs};
use super::{files, found, projects};
use crate::app::{App, AppError, AppResult, GrepRequest};
use crate::model::Freshness;
use crate::search::{Mode, Request, Selection};

/// Matches of a search, unless the call asks for another number, and at most.
const MATCHES: usize = 10;
const MOST_MATCHES: usize = 50;
/// The best matches that can be left out.
const MOST_OFFSET: usize = 1000;
/// Bounds of a call of `grep`.
const GREP_LINES: usize = 200;
const GREP_TIME: Duration = Duration::from_secs(2);
/// The lines that can be left out.
const MOST_LINES: usize = 100_000;

pub(super) async fn search(app: &App, args: SearchArgs) -> Answered {
    if args.query.trim().is_empty() {
        return Err("`query` is empty; say in words what to look for".to_owned());
    }
    let offset = bounded_offset(args.offset, MOST_OFFSET)?;
    let limit = args.limit.unwrap_or(MATCHES).clamp(1, MOST_MATCHES);
    let names: Vec<String> = args.project.into_iter().collect();
    let mut selection = selection(args.repository.as_deref(), &args.paths);
    for language in &args.languages {
        selection.languages.add(language);
    }
    let mode = match args.mode {
        None | Some(SearchMode::Hybrid) => Mode::Hybrid,
        Some(SearchMode::Keyword) => Mode::Keyword,
        Some(SearchMode::Semantic) => Mode::Semantic,
    };
    // One more than is shown tells whether there are more.
    let request = Request { top_k: limit + 1, offset, mode, selection, ..Request::new(args.query) };
    let answer = told(app.search(&names, &request).await)?;
    if answer.matches.is_empty() && offset == 0 {
        let unindexed = app.nothing_indexed(&names).await.map_err(|error| explained(&error.into()))?;
        if unindexed {
            return Err(projects::never_indexed(&names));
        }
    }
    Ok(found::render(&answer, (offset, limit), args.max_tokens))
}

pub(super) async fn read(app: &App, args: ReadArgs) -> Answered {
    let names: Vec<String> = args.project.into_iter().collect();
    let file = told(app.read(&names, &args.repository, &args.path).await)?;
    let freshness = fresh(app, &file.project, &file.repository).await;
    files::render(&file, &freshness, (args.start, args.end), args.max_tokens)
}

pub(super) async fn grep(app: &App, args: GrepArgs) -> Answered {
    let offset = bounded_offset(args.offset, MOST_LINES)?;
    let names: Vec<String> = args.project.into_iter().collect();
    let request = GrepRequest {
        pattern: args.pattern,
        ignore_case: args.ignore_case,
        selection: selection(args.repository.as_deref(), &args.paths),
        offset,
        limit: GREP_LINES,
        time: GREP_TIME,
    };
    let answer = told(app.grep(&names, &request).await)?;
    if answer.files.is_empty() && answer.bounded.is_none() && offset == 0 {
        let unindexed = app.nothing_indexed(&names).await.map_err(|error| explained(&error.into()))?;
        if unindexed {
            return Err(projects::never_indexed(&names));
        }
    }
    let of = answer.files.iter().map(|file| (file.project.clone(), file.repository.clone())).collect();
    let freshness = app.freshness(&of).await;
    Ok(files::render_lines(&answer, &freshness, offset, args.max_tokens))
}

pub(super) async fn list_projects(app: &App, _args: &ListArgs) -> Answered {
    let status = app.status().await.map_err(|error| explained(&error.into()))?;
    Ok(projects::list(&status))
}

pub(super) async fn status(app: &App, args: StatusArgs) -> Answered {
    let status = app.status().await.map_err(|error| explained(&error.into()))?;
    if let Some(project) = status.projects.iter().find(|project| project.project == args.project) {
        return Ok(projects::detail(project, status.at));
    }
    let known = status.projects.iter().map(|project| project.project.clone()).collect();
    Err(explained(&AppError::NoProject { name: args.project, known }))
}

pub(super) async fn explain(app: &App, args: ExplainArgs) -> Answered {
    let names: Vec<String> = args.project.into_iter().collect();
    let path = format!("{}:{}", args.repository, args.path);
    let explanation = told(app.explain(&names, path).await)?;
    Ok(projects::explanation(&explanation, &args.repository, &args.path))
}

/// How current one repository is.
pub(super) async fn fresh(app: &App, project: &str, repository: &str) -> Freshness {
    let of = BTreeSet::from([(project.to_owned(), repository.to_owned())]);
    let found = app.freshness(&of).await.into_iter().next();
    found.unwrap_or_else(|| Freshness::unknown(project, repository, "it has no record"))
}

fn told<T>(result: AppResult<T>) -> Result<T, String> {
    result.map_err(|error| explained(&error))
}

fn selection(repository: Option<&str>, paths: &[String]) -> Selection {
    let mut selection = Selection::default();
    for value in repository.into_iter().filter(|value| !value.is_empty()) {
        selection.repositories.add(value);
    }
    for value in paths.iter().filter(|value| !value.is_empty()) {
        selection.paths.add(value);
    }
    selection
}

fn bounded_offset(offset: Option<usize>, most: usize) -> Result<usize, String> {
    match offset {
        Some(offset) if offset > most => {
            Err(format!("`offset` is at most {most}; narrow the search instead"))
        }
        offset => Ok(offset.unwrap_or(0)),
    }
}
