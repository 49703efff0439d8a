//! Executes one run, from the lock to the report.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;

use super::generation::Generation;
use super::pending::{Pending, Pushed};
use super::plans::{refused, reopen};
use super::shared::{Observed, Shared};
use crate::app::UnpackedPlan;
use crate::factory::{self, RunFlags, standing_prune};
use crate::model::{Counts, Event, EventSink, Outcome, ProjectReport, Report, StageError, StageResult};
use crate::state::{Fence, Lease, NewRun};
use crate::sync::{self, Candidate, Options};

/// How long a cancelled run may take to finish the current batch, on a reload or at shutdown.
/// Kubernetes kills after 30 s. Intents that stay open are closed by the next run.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// A run to execute.
pub(super) struct Job {
    /// The project; `None`: clean up the orphans.
    pub(super) project: Option<Candidate>,
    pub(super) request: Pending,
    pub(super) generation: Arc<Generation>,
    pub(super) cancel: CancellationToken,
}

/// The result of a run.
pub(super) struct Ended {
    /// The project; `None`: the clean-up of orphans.
    pub(super) project: Option<String>,
    /// The project's part of the report; `None`: the run was stopped before it started.
    pub(super) report: Option<ProjectReport>,
    /// Repositories whose heads are still at the pre-push commit.
    pub(super) stale: BTreeMap<String, Pushed>,
}

/// Executes a run. Errors are part of the report.
pub(super) async fn execute(shared: Arc<Shared>, job: Job) -> Ended {
    let project = job.project.as_ref().map(|candidate| candidate.name.clone());
    let run = job.request.run.clone();
    let request = job.request.clone();
    let begun = NewRun {
        id: run.clone(),
        request: request.request.clone(),
        project: project.clone(),
        trigger: request.trigger.as_str().to_owned(),
    };
    shared.feeds.begin(&run, project.as_deref());
    let (cancel, generation) = (job.cancel.clone(), Arc::clone(&job.generation));
    let entered = tokio::select! {
        lease = shared.gate.enter() => lease.map(Some),
        () = cancel.cancelled() => Ok(None),
    };
    let result = match &entered {
        Ok(Some(lease)) => {
            let working = AssertUnwindSafe(work(&shared, lease.clone(), job)).catch_unwind();
            tokio::select! {
                result = working => result.unwrap_or_else(|_| {
                    Err(StageError::new("daemon", crate::model::ErrorKind::Bug, "the run panicked"))
                }),
                () = overdue(&cancel) => Err(StageError::cancelled("daemon")),
            }
        }
        Ok(None) => {
            // A plan whose run did not begin can be approved again.
            reopen(&*shared.state, &request).await;
            Ok(None)
        }
        Err(error) => Err(error.clone()),
    };
    let fence = entered.iter().flatten().next().map(Lease::fence);
    let report = match result {
        Ok(report) => report,
        Err(error) => {
            if error.kind != crate::model::ErrorKind::Cancelled {
                tracing::error!(run, project, error = %error.one_line(), "the run failed");
            }
            let history = generation.config.engine.history.0;
            Some(record_end(&shared, fence, begun, &error, history).await)
        }
    };
    drop(entered);
    if let Some(report) = &report {
        log(report);
        (shared.observer)(&Observed::Run(report, component_faults(&generation, report)));
    }
    shared.feeds.end(&run);
    if report.as_ref().is_some_and(|report| report.outcome != Outcome::Done) {
        shared.lagging.left.notify_one();
    }
    let stale = match (&project, &report) {
        (Some(project), Some(_)) => still_before(&shared, &run, project, request.pushed).await,
        _ => BTreeMap::new(),
    };
    let part = report.and_then(|report| report.projects.into_iter().next());
    Ended { project, report: part, stale }
}

/// Resolves when a cancelled run has used up its grace period. The run is then dropped; the next
/// run closes its open intents.
async fn overdue(cancel: &CancellationToken) {
    cancel.cancelled().await;
    tokio::time::sleep(GRACE).await;
}

async fn work(shared: &Arc<Shared>, lease: Lease, job: Job) -> StageResult<Option<Report>> {
    let Job { project, request, generation, cancel } = job;
    let config = &generation.config;
    if project.is_none() {
        let orphans = sync::orphans(&*shared.state, &config.project_names()).await?;
        if orphans.is_empty() {
            return Ok(None);
        }
    }
    let events = {
        let (shared, run) = (Arc::clone(shared), request.run.clone());
        EventSink::new(move |event| {
            (shared.observer)(&Observed::Event(&event));
            shared.waits.see(&event);
            if matches!(event, Event::RepositoryPlanned { .. }) {
                shared.lagging.begun.notify_one();
            }
            log_event(&event);
            shared.feeds.put(&run, event);
        })
    };
    let app = generation.app(&shared.state, cancel.clone()).with(events, cancel);
    let flags = RunFlags {
        full: request.full,
        prune: standing_prune(config),
        allow_deletes: request.allow_deletes,
        allow_cost: request.allow_cost,
        whole_file: project.is_none(),
    };
    let pushed = request.pushed.into_iter();
    let options = Options {
        pushed: pushed.map(|(name, push)| (name, push.before.into_iter().next())).collect(),
        id: Some(request.run.clone()),
        request: Some(request.request.clone()),
        ..factory::options(config, flags)
    };
    let trigger = request.trigger.as_str();
    let candidates = project.into_iter().collect();
    let plan = match &request.plan {
        Some(plan) => Some(app.ready_plan(plan).await.map_err(refused)?),
        None => None,
    };
    // Its file is there until the run has ended.
    let (saved, _folder) = plan.map(UnpackedPlan::into_parts).unzip();
    app.run(lease, candidates, options, saved, trigger).await.map(Some)
}

/// Records the end of a run that failed before it could do so itself. Without a lease it is only reported.
async fn record_end(
    shared: &Shared,
    fence: Option<Fence>,
    begun: NewRun,
    error: &StageError,
    history: Duration,
) -> Report {
    let cancelled = error.kind == crate::model::ErrorKind::Cancelled;
    let outcome = if cancelled { Outcome::Interrupted } else { Outcome::Failed };
    let known = shared.state.runs_of(vec![begun.id.clone()]).await.ok().and_then(|mut rows| rows.pop());
    let started_at = known.as_ref().and_then(|row| row.started_at.parse().ok()).unwrap_or_else(Utc::now);
    let part = ProjectReport {
        project: begun.project.clone().unwrap_or_else(|| "(orphans)".to_owned()),
        outcome,
        counts: Counts::default(),
        skipped: Vec::new(),
        failures: Vec::new(),
        error: (!cancelled).then(|| crate::model::Failure {
            stage: error.stage.clone(),
            repository: None,
            path: None,
            error: error.one_line(),
            hint: error.hint.clone(),
        }),
        retry_after: None,
        withheld: Vec::new(),
        notes: Vec::new(),
        search_quality: None,
    };
    let seconds = (Utc::now() - started_at).as_seconds_f64().max(0.0);
    let projects = vec![part];
    let (run, trigger) = (begun.id.clone(), begun.trigger.clone());
    let report = Report { run, trigger, started_at, seconds, outcome, projects };
    let Some(fence) = fence else { return report };
    let recorded = async {
        if known.is_none() {
            // It failed before its beginning was recorded.
            shared.state.start_run(fence, &begun, history, started_at).await?;
        }
        shared.state.finish_run(fence, &report, Vec::new(), Utc::now()).await
    };
    if let Err(error) = recorded.await {
        tracing::error!(run = report.run, error = %error.one_line(), "cannot record the run's end");
    }
    report
}

/// The number of reported failures that components caused, by stage.
fn component_faults(generation: &Generation, report: &Report) -> BTreeMap<String, u64> {
    let mut faults = BTreeMap::new();
    let failures = report.projects.iter().flat_map(|part| &part.failures);
    for failure in failures {
        let stage = generation.config.stage(&failure.stage);
        if stage.and_then(|stage| stage.settings.chunker()?.component()).is_some() {
            *faults.entry(failure.stage.clone()).or_default() += 1;
        }
    }
    faults
}

/// Logs the events that operators look for. Called within the spans of the run, which name run and project,
/// and the repository while one is compared.
fn log_event(event: &Event) {
    match event {
        Event::RepositoryPlanned { changes, removals, .. } => {
            tracing::info!(changes, removals, "repository differs");
        }
        Event::Failed { repository, path, error, .. } => {
            // Files are written in groups that mix repositories, outside of the span of one.
            let span = tracing::Span::current();
            let is_named = span.metadata().is_some_and(|span| span.name() == "repository");
            let repository = (!is_named).then_some(repository);
            tracing::warn!(repository, path, error, "failed");
        }
        Event::Note { message, .. } => tracing::info!(note = message, "note"),
        _ => {}
    }
}

fn log(report: &Report) {
    let run = report.run.as_str();
    for part in &report.projects {
        let (project, counts) = (part.project.as_str(), &part.counts);
        let written = counts.files_added + counts.files_changed + counts.files_moved;
        if let Some(error) = &part.error {
            let hint = error.hint.as_deref();
            tracing::error!(run, project, stage = %error.stage, error = %error.error, hint, "run failed");
        } else {
            tracing::info!(
                run,
                project,
                trigger = %report.trigger,
                outcome = part.outcome.as_str(),
                seconds = report.seconds,
                written,
                removed = counts.files_removed,
                failed = counts.files_failed,
                "run ended"
            );
        }
        if let Some(quality) = part.search_quality.as_ref().filter(|quality| quality.is_bad()) {
            tracing::warn!(run, project, mrr = quality.mrr, "search quality: {}", quality.message());
        }
    }
}

/// The pushed repositories whose heads are still at the pre-push commit: the API of the service is
/// not consistent with its webhook yet.
async fn still_before(
    shared: &Shared,
    run: &str,
    project: &str,
    pushed: BTreeMap<String, Pushed>,
) -> BTreeMap<String, Pushed> {
    if pushed.values().all(|push| push.before.is_empty()) {
        return BTreeMap::new();
    }
    let rows = shared.state.repositories(project).await.unwrap_or_default().into_iter();
    let heads: BTreeMap<String, String> =
        rows.filter_map(|row| Some((row.name, row.head?.to_string()))).collect();
    let stale = |name: &String, push: &Pushed| heads.get(name).is_some_and(|head| push.before.contains(head));
    let mut stale: BTreeMap<_, _> = pushed.into_iter().filter(|(name, push)| stale(name, push)).collect();
    let asked: BTreeSet<&String> = stale.keys().collect();
    if !asked.is_empty() {
        tracing::info!(run, project, repositories = ?asked, "heads are still at the pre-push commit");
    }
    for push in stale.values_mut() {
        push.asked += 1;
    }
    stale
}
