//! Runs as callers of the API see them: those that are queued or running, from the snapshot, and those of the history.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use super::feed::Feed;
use super::handle::{Handle, no_dispatcher};
use super::message::{Answer, Refusal, Request};
use super::progress::Progress;
use super::view::{RunState, View};
use crate::app::{AppError, AppResult, Narrow as _};
use crate::model::{Outcome, Report, StageResult};
use crate::state::{RunQuery, RunRow, RunStatus, State};

/// One run, or all runs of one request.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct RunView {
    /// Its id.
    pub run: String,
    /// The id of the request that the run belongs to; equals `run` unless the request covers
    /// several projects.
    pub request: String,
    /// The project; `None` for several projects and for a clean-up of orphans.
    pub project: Option<String>,
    /// What triggered it.
    pub trigger: String,
    /// `queued`, `running` or `finished`; `interrupted` if the process died before the run ended.
    #[schema(value_type = String)]
    pub status: &'static str,
    /// When it started (UTC, RFC 3339).
    pub started_at: Option<String>,
    /// When it ended (UTC, RFC 3339).
    pub finished_at: Option<String>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// What it did.
    pub report: Option<Report>,
}

impl RunView {
    /// Whether it has this status.
    fn is(&self, status: RunStatus) -> bool {
        let own = match (self.status, self.outcome) {
            ("finished", Some(outcome)) => outcome.as_str(),
            (status, _) => status,
        };
        own == status.as_str()
    }
}

/// A page of runs, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct RunPage {
    /// The runs, newest first.
    pub runs: Vec<RunView>,
    /// The `before` parameter of the next page; `None` on the last page.
    pub next: Option<String>,
}

impl Handle {
    /// A page of runs, newest first, queued runs included. `None`: no run has the id `before`.
    pub async fn runs(&self, mut query: RunQuery) -> StageResult<Option<RunPage>> {
        if self.access.is_whole() {
            return self.all_runs(query).await;
        }
        if let Some(before) = &query.before
            && self.visible_parts(before).await?.is_empty()
        {
            return Ok(None);
        }
        let limit = query.limit;
        // What the caller sees of a run may have another status than the whole.
        let status = query.status.take();
        let mut runs = Vec::new();
        loop {
            let Some(page) = self.all_runs(query.clone()).await? else { return Ok(None) };
            let visible = page.runs.into_iter().filter_map(|run| self.narrowed(run));
            runs.extend(visible.filter(|run| status.is_none_or(|status| run.is(status))));
            query.before = page.next;
            if runs.len() > limit || query.before.is_none() {
                break;
            }
        }
        let more = runs.len() > limit;
        runs.truncate(limit);
        let next = runs.last().filter(|_| more).map(|run| run.run.clone());
        Ok(Some(RunPage { runs, next }))
    }

    async fn all_runs(&self, query: RunQuery) -> StageResult<Option<RunPage>> {
        let view = self.view();
        let active: Vec<String> =
            view.runs.iter().filter(|(_, run)| is_wanted(run, &query)).map(|(id, _)| id.clone()).collect();
        let limit = query.limit;
        let query = RunQuery { active: view.runs.keys().cloned().collect(), ..query };
        let read = front_and_rows(&*self.shared.reader, active, query).await?;
        let Some((front, rows)) = read else { return Ok(None) };
        let front = front.iter().map(|run| active_run(&view, run));
        let mut runs: Vec<RunView> = front.chain(rows.into_iter().map(|row| past(&view, row))).collect();
        let more = runs.len() > limit;
        runs.truncate(limit);
        let next = runs.last().filter(|_| more).map(|run| run.run.clone());
        Ok(Some(RunPage { runs, next }))
    }

    /// One run, or the sum of a request's runs. `None`: no such run.
    pub async fn run(&self, id: &str) -> StageResult<Option<RunView>> {
        Ok(sum(id, self.visible_parts(id).await?))
    }

    /// The runs that an id refers to, as far as the caller may see them.
    pub(super) async fn visible_parts(&self, id: &str) -> StageResult<Vec<RunView>> {
        let view = self.view();
        let ids = self.parts(id).await?;
        let mut parts = Vec::new();
        let rows = self.shared.reader.runs_of(ids.clone()).await?;
        let mut rows: BTreeMap<String, RunRow> = rows.into_iter().map(|row| (row.id.clone(), row)).collect();
        for part in ids {
            match rows.remove(&part) {
                Some(row) => parts.push(past(&view, row)),
                None if view.runs.contains_key(&part) => parts.push(active_run(&view, &part)),
                None => {}
            }
        }
        Ok(parts.into_iter().filter_map(|part| self.narrowed(part)).collect())
    }

    /// A run as far as the caller may see it; `None`: nothing of it.
    fn narrowed(&self, mut run: RunView) -> Option<RunView> {
        if self.access.is_whole() {
            return Some(run);
        }
        if let Some(report) = &mut run.report {
            report.narrow(&self.access);
            run.outcome = Some(report.outcome);
        }
        let visible = match &run.project {
            Some(project) => self.access.has_project(project),
            None => run.report.as_ref().is_some_and(|report| !report.projects.is_empty()),
        };
        visible.then_some(run)
    }

    /// The event feeds of a run, or of all runs of a request.
    pub async fn events(&self, id: &str) -> StageResult<Vec<Feed>> {
        let parts = self.visible_parts(id).await?;
        let feed = |part: &RunView| Some(self.shared.feeds.of(&part.run)?.seen_by(Arc::clone(&self.access)));
        Ok(parts.iter().filter_map(feed).collect())
    }

    /// How far a run is, or all runs of a request; `None`: they are not known any more.
    pub async fn progress(&self, id: &str) -> StageResult<Option<Progress>> {
        let parts = self.visible_parts(id).await?;
        let each = parts.iter().filter_map(|part| self.shared.feeds.progress(&part.run));
        let sum = each.reduce(|mut sum, one| {
            sum.merge(one);
            sum
        });
        Ok(sum.map(|sum| Progress {
            // A stage may serve other projects, too.
            waiting: sum.waiting.filter(|_| self.access.is_whole()),
            repository: sum.repository.filter(|name| self.access.has_repository(name)),
            repositories: {
                let mut repositories = sum.repositories;
                repositories.retain(|(_, name), _| self.access.has_repository(name));
                repositories
            },
            ..sum
        }))
    }

    /// Cancels a run that is queued or running, or all runs of a request. False: they have ended.
    pub async fn cancel(&self, id: &str) -> AppResult<bool> {
        let parts = self.visible_parts(id).await?;
        if parts.is_empty() {
            return Err(AppError::Absent("there is no such run".to_owned()));
        }
        let runs: Vec<String> = parts.into_iter().map(|part| part.run).collect();
        let cancelled = match self.ask(Request::Cancel { runs: runs.clone() }).await {
            Ok(Answer::Cancelled(cancelled)) => cancelled,
            // A shutdown cancels every run.
            Ok(_) | Err(Refusal::Stopping) => true,
            Err(_) => return Err(no_dispatcher().into()),
        };
        if cancelled {
            self.reopen_unstarted(&runs).await?;
        }
        Ok(cancelled)
    }

    /// Resolves an id to runs.
    async fn parts(&self, id: &str) -> StageResult<Vec<String>> {
        if let Some(runs) = self.shared.aliases.of(id) {
            return Ok(runs);
        }
        let view = self.view();
        if view.runs.contains_key(id) {
            return Ok(vec![id.to_owned()]);
        }
        let rows = self.shared.reader.runs_of(vec![id.to_owned()]).await?;
        let mut parts: BTreeSet<String> = rows.into_iter().map(|row| row.id).collect();
        if !parts.contains(id) {
            parts.extend(view.runs.iter().filter(|(_, run)| run.request == id).map(|(run, _)| run.clone()));
        }
        Ok(parts.into_iter().collect())
    }
}

/// The `active` runs that the history does not hold yet, and one row more than a page of the history.
/// `None`: no run has the id `before`.
async fn front_and_rows(
    state: &dyn State,
    active: Vec<String>,
    query: RunQuery,
) -> StageResult<Option<(Vec<String>, Vec<RunRow>)>> {
    let recorded = state.runs_of(active.clone()).await?;
    let mut front = active;
    front.retain(|id| recorded.iter().all(|row| row.id != *id));
    front.sort_unstable_by(|a, b| b.cmp(a));
    let before = query.before;
    let mut page = RunQuery { limit: query.limit.saturating_add(1), before: None, ..query };
    if let Some(before) = before {
        if let Some(at) = front.iter().position(|id| *id == before) {
            // Queued runs are newer than every run in the history.
            front.drain(..=at);
        } else {
            front.clear();
            page.before = Some(before);
        }
    }
    let Some(rows) = state.runs(&page).await? else { return Ok(None) };
    // Some may have begun since.
    front.retain(|id| rows.iter().all(|row| row.id != *id));
    Ok(Some((front, rows)))
}

/// Whether a run that is queued or running is part of a page.
fn is_wanted(run: &RunState, query: &RunQuery) -> bool {
    let status = if run.started_at.is_some() { RunStatus::Running } else { RunStatus::Queued };
    query.project.as_ref().is_none_or(|name| *name == run.project)
        && query.trigger.as_ref().is_none_or(|trigger| trigger == run.trigger.as_str())
        && query.since.is_none_or(|since| run.started_at.is_none_or(|at| at >= since))
        && query.status.is_none_or(|wanted| wanted == status)
}

fn active_run(view: &View, run: &str) -> RunView {
    let state = view.runs.get(run);
    let started_at = state.and_then(|state| state.started_at);
    RunView {
        run: run.to_owned(),
        request: state.map_or_else(|| run.to_owned(), |state| state.request.clone()),
        project: state.map(|state| state.project.clone()),
        trigger: state.map(|state| state.trigger.as_str().to_owned()).unwrap_or_default(),
        status: if started_at.is_some() { "running" } else { "queued" },
        started_at: started_at.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)),
        finished_at: None,
        outcome: None,
        report: None,
    }
}

fn past(view: &View, row: RunRow) -> RunView {
    let status = match &row.finished_at {
        Some(_) => "finished",
        None if view.runs.contains_key(&row.id) => "running",
        None => "interrupted",
    };
    RunView {
        run: row.id,
        request: row.request,
        project: row.project,
        trigger: row.trigger,
        status,
        started_at: Some(row.started_at),
        finished_at: row.finished_at,
        outcome: row.report.as_ref().map(|report| report.outcome),
        report: row.report,
    }
}

/// Summarizes the runs of one request.
fn sum(id: &str, mut parts: Vec<RunView>) -> Option<RunView> {
    if parts.len() < 2 {
        return parts.pop();
    }
    let status = ["running", "queued", "interrupted", "finished"];
    let status = status.into_iter().find(|status| parts.iter().any(|part| part.status == *status))?;
    let ended = parts.iter().all(|part| part.finished_at.is_some());
    let finished_at =
        if ended { parts.iter().filter_map(|part| part.finished_at.clone()).max() } else { None };
    let outcome = if ended { parts.iter().filter_map(|part| part.outcome).max() } else { None };
    let started_at = parts.iter().filter_map(|part| part.started_at.clone()).min();
    let trigger = parts.first().map(|part| part.trigger.clone()).unwrap_or_default();
    let reports: Vec<Report> = parts.into_iter().filter_map(|part| part.report).collect();
    let report =
        outcome.zip(reports.iter().map(|report| report.started_at).min()).map(|(outcome, started_at)| {
            let end = |report: &Report| (report.started_at - started_at).as_seconds_f64() + report.seconds;
            Report {
                run: id.to_owned(),
                trigger: trigger.clone(),
                started_at,
                seconds: reports.iter().map(end).fold(0.0, f64::max),
                outcome,
                projects: reports.iter().flat_map(|report| report.projects.clone()).collect(),
            }
        });
    Some(RunView {
        run: id.to_owned(),
        request: id.to_owned(),
        project: None,
        trigger,
        status,
        started_at,
        finished_at,
        outcome,
        report,
    })
}
