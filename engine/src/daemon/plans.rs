//! Stored plans: made on request, carried out when somebody approves them.

use std::sync::Arc;

use chrono::Utc;
use serde::Serialize;
use tracing::Instrument as _;

use super::handle::{Handle, no_dispatcher};
use super::message::{Refusal, Request};
use super::pending::Pending;
use crate::app::{AppError, AppResult, PlanView, StorePlanRequest};
use crate::model::{ErrorKind, StageError, StageResult};
use crate::state::{PlanDecision, PlanStatus, State};
use crate::sync::run_id;

/// A stored plan that was approved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Approved {
    /// The plan.
    pub plan: String,
    /// The project.
    pub project: String,
    /// The run that carries it out.
    pub run: String,
}

impl Handle {
    /// Plans a run of a project, and keeps the plan. `by`: the name of the token.
    pub async fn make_plan(&self, request: &StorePlanRequest, by: &str) -> AppResult<PlanView> {
        let cancel = self.shared.cancel.child_token();
        // Cancels planning when the caller drops the request.
        let _stop = cancel.clone().drop_guard();
        let app = self.view().generation.app(&self.shared.reader, cancel).seen_by(Arc::clone(&self.access));
        let (plan, content) = app.make_stored_plan(request, by).await?;
        self.shared.state.put_plan(&plan, content).await?;
        app.whole_stored_plan(&plan.id).await
    }

    /// Approves a plan: a run carries out exactly what it says. Of several callers one succeeds; the others get
    /// an error that says who decided.
    pub async fn approve_plan(&self, id: &str, by: &str) -> AppResult<Approved> {
        let plan = self.undecided(id).await?;
        self.app().ready_plan(id).await?;
        let run = run_id(Utc::now());
        let approved = Approved { plan: plan.id, project: plan.project, run };
        let (handle, by) = (self.clone(), by.to_owned());
        // If the caller leaves meanwhile, the approved plan is carried out all the same.
        let work = tokio::spawn(async move { handle.start_approved(approved, &by).await }.in_current_span());
        work.await.unwrap_or_else(|error| {
            let bug = StageError::new("daemon", ErrorKind::Bug, "the approval panicked").caused_by(error);
            Err(bug.into())
        })
    }

    /// Discards a plan: it cannot be approved any more.
    pub async fn discard_plan(&self, id: &str, by: &str) -> AppResult<PlanView> {
        self.undecided(id).await?;
        let decision =
            PlanDecision { status: PlanStatus::Discarded, at: Utc::now(), by: by.to_owned(), run: None };
        if !self.shared.state.decide_plan(id, PlanStatus::Open, &decision).await? {
            self.undecided(id).await?;
        }
        self.app().stored_plan(id).await
    }

    /// Opens the plans of these runs again that were cancelled while they were queued.
    pub(super) async fn reopen_unstarted(&self, runs: &[String]) -> StageResult<()> {
        let state = &*self.shared.state;
        for plan in state.plans(Utc::now()).await? {
            let Some(run) = plan.run.filter(|run| runs.contains(run)) else { continue };
            let is_known = self.view().runs.contains_key(&run)
                || !self.shared.reader.runs_of(vec![run.clone()]).await?.is_empty();
            if !is_known {
                reopen(state, &Pending::of_plan(run, plan.id)).await;
            }
        }
        Ok(())
    }

    /// Records the approval, and has the dispatcher start the run.
    async fn start_approved(&self, approved: Approved, by: &str) -> AppResult<Approved> {
        let state = &*self.shared.state;
        let Approved { plan, project, run } = approved.clone();
        let status = PlanStatus::Approved;
        let decision = PlanDecision { status, at: Utc::now(), by: by.to_owned(), run: Some(run.clone()) };
        if !state.decide_plan(&plan, PlanStatus::Open, &decision).await? {
            self.undecided(&plan).await?;
            return Err(conflict("decided", "somebody else decided about the plan at the same moment"));
        }
        let request = Request::Approved { project: project.clone(), plan: plan.clone(), run: run.clone() };
        let Err(refusal) = self.ask(request).await else {
            self.wait_to_see(vec![run]).await;
            return Ok(approved);
        };
        reopen(state, &Pending::of_plan(run, plan)).await;
        Err(match refusal {
            Refusal::NoProject(_) | Refusal::Disabled(_) => {
                let message = format!("project `{project}` is no longer in the file, or disabled");
                conflict("stale", message)
            }
            Refusal::Stopping => StageError::cancelled("daemon").into(),
            Refusal::NoDispatcher => no_dispatcher().into(),
        })
    }

    /// A plan that is open; an error that says who has decided about it.
    async fn undecided(&self, id: &str) -> AppResult<PlanView> {
        // The reader of a state in a file may be behind the writer for a moment.
        let app = self.view().generation.app(&self.shared.state, self.shared.cancel.child_token());
        let plan = app.seen_by(Arc::clone(&self.access)).stored_plan(id).await?;
        if plan.status == PlanStatus::Open.as_str() {
            return Ok(plan);
        }
        let who = plan.decided_by.unwrap_or_default();
        let when = plan.decided_at.map(|at| at.format(" at %Y-%m-%d %H:%M:%S UTC").to_string());
        let run = plan.run.map(|run| format!("; run `{run}` carries it out")).unwrap_or_default();
        let message = format!("`{who}` has {} the plan{}{run}", plan.status, when.unwrap_or_default());
        Err(conflict("decided", message))
    }
}

fn conflict(code: &'static str, message: impl Into<String>) -> AppError {
    AppError::Conflict { code, message: message.into() }
}

/// Opens an approved plan again whose run has not begun.
pub(super) async fn reopen(state: &dyn State, request: &Pending) {
    let Some(plan) = &request.plan else { return };
    let open = PlanDecision { status: PlanStatus::Open, at: Utc::now(), by: String::new(), run: None };
    if let Err(error) = state.decide_plan(plan, PlanStatus::Approved, &open).await {
        tracing::error!(plan, error = %error.one_line(), "an approved plan was not carried out");
    } else {
        tracing::warn!(plan, run = request.run, "an approved plan was not carried out; it is open again");
    }
}

/// Why a plan that was approved cannot be carried out.
pub(super) fn refused(error: AppError) -> StageError {
    let message = match error {
        AppError::Stage(error) => return error,
        AppError::NoProject { name, .. } | AppError::Disabled(name) => {
            format!("project `{name}` is no longer in the file, or disabled")
        }
        AppError::Owned(_) => "the namespace is in use".to_owned(),
        AppError::Absent(message)
        | AppError::Ambiguous(message)
        | AppError::Invalid(message)
        | AppError::Conflict { message, .. } => message,
    };
    StageError::refused("plan", message).hint("make a new plan")
}
