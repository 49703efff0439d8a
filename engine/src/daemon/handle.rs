//! The interface that the API is built on: sends requests to the dispatcher, answers queries from
//! its snapshot and the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::feed::Feed;
use super::message::{Accepted, Answer, Cause, Message, Refusal, ReloadOutcome, Request};
use super::pending::Pushed;
use super::progress::Progress;
use super::shared::Shared;
use super::view::{Role, RunState, View};
use crate::app::{App, AppError, AppResult, Narrow as _, PlanRequest};
use crate::factory::{RunFlags, standing_prune};
use crate::model::{
    Access, BranchRef, ErrorKind, Outcome, Push, PushSubject, Report, Running, StageError, StageResult,
    StatusView, VerifyReport, Wait,
};
use crate::plan::Plan;
use crate::state::{AuditEntry, AuditQuery, AuditRow, RunQuery, RunRow, State};

/// How long a standby waits to see a run that the dispatcher has accepted.
const LONGEST_LOOK: Duration = Duration::from_secs(5);

/// A handle to the daemon. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
    pub(super) sender: mpsc::Sender<Message>,
    view: watch::Receiver<Arc<View>>,
    /// What the caller may see.
    pub(super) access: Arc<Access>,
}

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

/// A page of runs, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct RunPage {
    /// The runs, newest first.
    pub runs: Vec<RunView>,
    /// The `before` parameter of the next page; `None` on the last page.
    pub next: Option<String>,
}

impl Handle {
    pub(super) fn new(
        shared: Arc<Shared>,
        sender: mpsc::Sender<Message>,
        view: watch::Receiver<Arc<View>>,
    ) -> Self {
        Self { shared, sender, view, access: Arc::default() }
    }

    /// A handle for a caller that may see only a part. Projects and repositories outside of it are treated as ones
    /// that do not exist.
    #[must_use]
    pub fn seen_by(&self, access: Arc<Access>) -> Self {
        Self { access, ..self.clone() }
    }

    /// True if the caller may see this project.
    pub fn has_project(&self, name: &str) -> bool {
        self.access.has_project(name)
    }

    /// The current snapshot.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    /// Resolves when the daemon starts to shut down.
    pub async fn stopping(&self) {
        self.shared.cancel.cancelled().await;
    }

    /// The other process that a run of this daemon waits for, if any.
    pub fn waiting_for(&self) -> Option<Running> {
        self.shared.gate.waiting_for()
    }

    /// Requests a run of a project, or of all projects. Orphans are cleaned up with all projects, if the caller may
    /// see everything.
    pub async fn sync(
        &self,
        project: Option<String>,
        full: bool,
        allow_deletes: bool,
        allow_cost: bool,
    ) -> Result<Accepted, Refusal> {
        let projects = match project {
            Some(name) if !self.access.has_project(&name) => return Err(Refusal::NoProject(name)),
            Some(name) => Some(vec![name]),
            None if self.access.is_whole() => None,
            None => {
                let enabled = self.view().projects.keys().cloned().collect::<Vec<_>>();
                Some(enabled.into_iter().filter(|name| self.access.has_project(name)).collect())
            }
        };
        match self.ask(Request::Sync { projects, full, allow_deletes, allow_cost }).await? {
            Answer::Accepted(accepted) => {
                let runs: Vec<String> = accepted.runs.values().cloned().collect();
                if runs.len() > 1 {
                    self.shared.aliases.take_up(vec![(accepted.run.clone(), runs.clone())]);
                }
                self.wait_to_see(runs).await;
                Ok(accepted)
            }
            _ => Err(Refusal::NoDispatcher),
        }
    }

    /// Asks the dispatcher, wherever it is.
    pub(super) async fn ask(&self, request: Request) -> Result<Answer, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.sender.send(Message::Request { request, answer }).await.map_err(|_| Refusal::Stopping)?;
        match answered.await {
            Ok(Answer::Refused(refusal)) => Err(refusal),
            Ok(answer) => Ok(answer),
            Err(_) => Err(Refusal::Stopping),
        }
    }

    /// Waits until this daemon shows runs that another one has accepted, so that the caller can look them up.
    pub(super) async fn wait_to_see(&self, runs: Vec<String>) {
        let mut view = self.view.clone();
        let seen = async {
            loop {
                let shown = {
                    let view = view.borrow_and_update();
                    runs.iter().all(|run| view.runs.contains_key(run))
                };
                // One may have ended already.
                let is_known = shown
                    || self
                        .shared
                        .reader
                        .runs_of(runs.clone())
                        .await
                        .is_ok_and(|rows| rows.len() >= runs.len());
                if is_known || view.changed().await.is_err() {
                    return;
                }
            }
        };
        if self.view().role == Role::Standby && timeout(LONGEST_LOOK, seen).await.is_err() {
            tracing::debug!("the dispatcher does not show a run that it has accepted");
        }
    }

    /// Reloads the file, and that of the dispatcher, and returns the result; `None`: the daemon is shutting down.
    pub async fn reload(&self) -> Option<ReloadOutcome> {
        let (answer, answered) = oneshot::channel();
        self.sender.send(Message::Reload { cause: Cause::Api, answer: Some(answer) }).await.ok()?;
        let own = answered.await.ok()?;
        if self.view().role != Role::Standby || own.outcome == "refused" {
            return Some(own);
        }
        Some(match self.ask(Request::Reload).await {
            Ok(Answer::Reloaded { refused, message }) => {
                let outcome = if refused { "refused" } else { own.outcome };
                ReloadOutcome { outcome, message: format!("the dispatcher: {message}"), ..own }
            }
            _ => ReloadOutcome { message: format!("{}; no dispatcher answers", own.message), ..own },
        })
    }

    /// Requests a reload without waiting for the result.
    pub(super) async fn request_reload(&self, cause: Cause) {
        // Sending fails only during shutdown, when there is nothing to reload.
        drop(self.sender.send(Message::Reload { cause, answer: None }).await);
    }

    /// Handles what a webhook of a kind of source reports. Returns the projects that may index the
    /// repository.
    pub async fn push(&self, kind: &str, push: Push) -> Vec<String> {
        let projects = concerned(&self.view(), kind, &push);
        if !projects.is_empty() {
            let before = push.before.into_iter().collect();
            let pushed = match push.subject {
                PushSubject::Repository(name) => Some((name, Pushed { before, asked: 0 })),
                PushSubject::Owner(_) => None,
            };
            let pushed = pushed.into_iter().collect();
            // A failure is logged; the next run of the project on schedule sees the change.
            drop(self.ask(Request::Changed { projects: projects.clone(), pushed }).await);
        }
        projects
    }

    /// How far each project is behind its repositories.
    pub async fn status(&self) -> StageResult<StatusView> {
        let view = self.view();
        let declared = view.generation.config.declared();
        let mut status = self.shared.reader.status(&declared, Utc::now()).await?;
        for project in &mut status.projects {
            project.next_run = view.projects.get(&project.project).and_then(|state| state.next_run);
        }
        let active = view.runs.values().filter_map(|run| run.started_at).min();
        status.running = match active {
            Some(_) if view.role == Role::Standby => self.shared.reader.holder().await?,
            Some(since) => Some(Running { process: std::process::id(), since }),
            None => self.waiting_for(),
        };
        self.add_waits(&mut status, &view);
        status.refused_config.clone_from(&view.refused);
        status.narrow(&self.access);
        Ok(status)
    }

    /// Adds what the running projects wait for.
    fn add_waits(&self, status: &mut StatusView, view: &View) {
        self.shared.waits.add_to(status, &view.generation.config);
        let Some(holder) = self.waiting_for() else { return };
        let is_running = |name: &String| view.projects.get(name).is_some_and(|state| state.running.is_some());
        for project in status.projects.iter_mut().filter(|project| is_running(&project.project)) {
            let reason = format!("process {} holds the ledger", holder.process);
            project.waits.push(Wait { stage: None, reason, until: None });
        }
    }

    /// The use cases on the running generation, for requests that end when they are dropped.
    pub fn app(&self) -> App {
        let app = self.view().generation.app(&self.shared.reader, self.shared.cancel.child_token());
        app.seen_by(Arc::clone(&self.access))
    }

    /// Puts an entry into the audit log.
    pub fn record_audit(&self, entry: AuditEntry) {
        self.shared.audit.put(entry, self.view().generation.config.engine.history.0);
    }

    /// A page of the audit log, newest entry first.
    pub async fn audit(&self, mut query: AuditQuery) -> StageResult<Vec<AuditRow>> {
        if !self.access.is_whole() {
            let names = match query.projects.take() {
                Some(names) => names,
                None => {
                    self.shared.reader.projects().await?.into_iter().map(|project| project.name).collect()
                }
            };
            query.projects = Some(names.into_iter().filter(|name| self.access.has_project(name)).collect());
        }
        let mut rows = self.shared.reader.audit(&query).await?;
        for row in &mut rows {
            row.entry.projects.retain(|name| self.access.has_project(name));
        }
        Ok(rows)
    }

    /// Plans a run without executing it.
    pub async fn plan(&self, project: Option<&str>, exact: bool) -> AppResult<Plan> {
        let view = self.view();
        let flags = RunFlags {
            full: false,
            prune: standing_prune(&view.generation.config),
            allow_deletes: false,
            allow_cost: false,
            whole_file: project.is_none() && self.access.is_whole(),
        };
        let projects = project.map(str::to_owned).into_iter().collect();
        let cancel = self.shared.cancel.child_token();
        // Cancels planning when the caller drops the request.
        let _stop = cancel.clone().drop_guard();
        let app = view.generation.app(&self.shared.reader, cancel).seen_by(Arc::clone(&self.access));
        app.plan(PlanRequest { projects, flags, exact, out: None }).await
    }

    /// Compares the vectors that the state records with those in the stores. Read-only.
    pub async fn verify(&self, project: Option<&str>) -> AppResult<VerifyReport> {
        let projects: Vec<String> = project.map(str::to_owned).into_iter().collect();
        let cancel = self.shared.cancel.child_token();
        // Cancels the comparison when the caller drops the request.
        let _stop = cancel.clone().drop_guard();
        let app = self.view().generation.app(&self.shared.reader, cancel);
        let mut report = app.seen_by(Arc::clone(&self.access)).verify(&projects).await?;
        if !self.access.is_of_all_repositories() {
            // They name files of any repository.
            report.projects.iter_mut().for_each(|project| project.examples.clear());
        }
        Ok(report)
    }

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
        let mut runs = Vec::new();
        loop {
            let Some(page) = self.all_runs(query.clone()).await? else { return Ok(None) };
            runs.extend(page.runs.into_iter().filter_map(|run| self.narrowed(run)));
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
        let wanted = |run: &RunState| query.project.as_ref().is_none_or(|name| *name == run.project);
        let active: Vec<String> =
            view.runs.iter().filter(|(_, run)| wanted(run)).map(|(id, _)| id.clone()).collect();
        let limit = query.limit;
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
    async fn visible_parts(&self, id: &str) -> StageResult<Vec<RunView>> {
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

/// The error of a request that needs the dispatcher.
pub(super) fn no_dispatcher() -> StageError {
    StageError::new(
        "daemon",
        ErrorKind::Transient { retry_after: None },
        "no daemon answers as the dispatcher",
    )
    .hint("another daemon takes over within half a minute; try again")
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
    let RunQuery { limit, before, project } = query;
    let mut page = RunQuery { limit: limit.saturating_add(1), before: None, project };
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

/// The enabled projects with a source of this kind that may index what a push is about.
fn concerned(view: &View, kind: &str, push: &Push) -> Vec<String> {
    let config = &view.generation.config;
    let names = |project: &&crate::config::Project| {
        let same_kind = config.stage(&project.source).is_some_and(|stage| stage.settings.kind() == kind);
        let branch = match (&project.branch, &push.branch) {
            (_, None) => true,
            (BranchRef::Default, Some((_, is_default))) => *is_default,
            (BranchRef::Named(wanted), Some((branch, _))) => {
                wanted.strip_prefix("refs/heads/").unwrap_or(wanted) == branch
            }
        };
        same_kind && branch && project.selection.may_select(&push.subject)
    };
    let enabled = config.projects.iter().filter(|project| project.enabled);
    enabled.filter(names).map(|project| project.name.clone()).collect()
}
