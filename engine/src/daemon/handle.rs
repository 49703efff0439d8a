//! The interface that the API is built on: sends requests to the dispatcher, answers queries from
//! its snapshot and the ledger. Runs, stored plans and sign-ins are in separate files.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::message::{Accepted, Answer, Cause, Message, Refusal, ReloadOutcome, Request};
use super::pending::Pushed;
use super::shared::Shared;
use super::view::{Role, View};
use crate::app::{App, AppResult, Narrow as _, PlanRequest};
use crate::factory::{RunFlags, standing_prune};
use crate::model::{
    Access, BranchRef, ErrorKind, Push, PushSubject, Running, StageError, StageResult, StatusView,
    VerifyReport, Wait,
};
use crate::plan::Plan;
use crate::state::{AuditEntry, AuditQuery, AuditRow};

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
