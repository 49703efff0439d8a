//! A run: projects side by side, each from its listing to its last recorded file.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::behind::count_behind;
use super::dispatch::Dispatch;
use super::execute::Execute;
use super::orphans::orphan_projects;
use super::planning::bases;
use super::project::drive;
use super::project_run::ProjectRun;
use super::remove::clean_leftovers;
use super::saved::{SavedPlan, SavedProject};
use super::selected::record_findings;
use super::setup::{Candidate, Engine, Options, Project};
use super::stats::RunStats;
use super::writer::Writer;
use crate::model::{ErrorKind, Event, EventSink, Outcome, ProjectReport, Report, StageError, StageResult};
use crate::state::{Lease, NewRun, ProjectEnd};

/// Events kept for the history of a run.
const KEPT_EVENTS: usize = 200;

/// Makes the index of these projects equal to what is declared. `saved`: carries out that plan, with its
/// options, and does nothing else.
///
/// Fails, before anything was done, if the ledger cannot be used or the saved plan is refused. Whatever happens
/// in a project is in its part of the report. `lease`: on all of them.
pub async fn run(
    engine: Arc<Engine>,
    lease: Lease,
    candidates: Vec<Candidate>,
    options: Options,
    saved: Option<SavedPlan>,
    trigger: &str,
) -> StageResult<Report> {
    let options = match &saved {
        Some(saved) => {
            saved.check(&bases(&candidates))?;
            options.with_saved(saved.options())
        }
        None => options,
    };
    let started_at = Utc::now();
    let id = options.id.clone().unwrap_or_else(|| run_id(started_at));
    let span = tracing::info_span!("run", run = %id, trigger);
    run_all(engine, lease, candidates, options, saved, (id, trigger, started_at)).instrument(span).await
}

async fn run_all(
    engine: Arc<Engine>,
    lease: Lease,
    candidates: Vec<Candidate>,
    options: Options,
    saved: Option<SavedPlan>,
    (id, trigger, started_at): (String, &str, DateTime<Utc>),
) -> StageResult<Report> {
    let clock = std::time::Instant::now();
    let begun = NewRun {
        id: id.clone(),
        request: options.request.clone().unwrap_or_else(|| id.clone()),
        project: only_one(&candidates),
        trigger: trigger.to_owned(),
    };
    engine.state.start_run(lease.fence(), &begun, engine.history, started_at).await?;
    lease.moved();
    let (engine, kept) = keep_events(&engine);

    let options = Arc::new(options);
    let mut tasks = JoinSet::new();
    let mut reports = Reports::new();
    for (index, candidate) in candidates.iter().enumerate() {
        match &candidate.project {
            Ok(project) => {
                let (engine, lease) = (Arc::clone(&engine), lease.clone());
                let (project, options) = (Arc::clone(project), Arc::clone(&options));
                let span = tracing::info_span!("project", project = project.name());
                let run = id.clone();
                let part = saved.as_ref().map(|saved| saved.project(project.name()));
                let work =
                    async move { (index, run_project(engine, lease, (run, project, options), part).await) };
                tasks.spawn(work.instrument(span));
            }
            Err(error) => {
                reports.insert(index, RunStats::default().report(&candidate.name, Some(error), false));
            }
        }
    }
    let unended = collect(tasks, &mut reports, engine.waits.stuck(&lease)).await;
    for (index, candidate) in candidates.iter().enumerate() {
        reports.entry(index).or_insert_with(|| {
            let report = RunStats::default().report(&candidate.name, Some(&unended), false);
            let (project, outcome) = (candidate.name.clone(), report.outcome);
            engine.events.emit(Event::ProjectFinished { project, outcome });
            report
        });
    }
    let mut parts: Vec<ProjectReport> = reports.into_values().collect();
    tokio::select! {
        () = settle(&candidates, &parts, engine.cancel.is_cancelled()) => {}
        _ = engine.waits.stuck(&lease) => tracing::warn!("calls to embedders are not waited for any longer"),
    }
    if options.whole_file {
        let planned = saved.as_ref().map(SavedPlan::orphans);
        parts.extend(orphan_projects(&engine, &lease, &options, planned).await);
    }
    if let Some(review) = &options.review {
        review.call(&mut parts).await;
    }
    let outcome = parts.iter().map(|project| project.outcome).max().unwrap_or(Outcome::Done);
    let report = Report {
        run: id,
        trigger: trigger.to_owned(),
        started_at,
        seconds: clock.elapsed().as_secs_f64(),
        outcome,
        projects: parts,
    };
    let events = std::mem::take(&mut *kept.lock());
    if let Err(error) = engine.state.finish_run(lease.fence(), &report, events, Utc::now()).await {
        // What was done is recorded file by file; only the history lacks this run.
        tracing::error!(error = %error.one_line(), "cannot record the run's end");
    }
    notify(&candidates, &report, options.page(&report.run).as_deref()).await;
    Ok(report)
}

/// The results of projects, by their place in the run.
type Reports = BTreeMap<usize, ProjectReport>;

/// Takes the results of the tasks until they have ended, or until the run is stuck: then the rest is aborted. Returns the
/// error of projects without a result.
async fn collect(
    mut tasks: JoinSet<(usize, ProjectReport)>,
    reports: &mut Reports,
    stuck: impl Future<Output = StageError>,
) -> StageError {
    let mut stuck = std::pin::pin!(stuck);
    loop {
        let ended = tokio::select! {
            ended = tasks.join_next() => ended,
            error = &mut stuck => return error,
        };
        match ended {
            Some(Ok((index, report))) => drop(reports.insert(index, report)),
            Some(Err(panic)) => tracing::error!(error = %panic, "a project's task panicked"),
            None => return StageError::new("engine", ErrorKind::Bug, "the project's task panicked"),
        }
    }
}

/// The project of a run over one project.
fn only_one(candidates: &[Candidate]) -> Option<String> {
    match candidates {
        [only] => Some(only.name.clone()),
        _ => None,
    }
}

/// A new run's id: sortable by time, and unique among all processes of all machines.
pub fn run_id(now: DateTime<Utc>) -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let made = MADE.fetch_add(1, Ordering::Relaxed) & 0xfff;
    let random = getrandom::u32().unwrap_or_else(|_| std::process::id());
    format!("{}-{random:08x}{made:03x}", now.format("%Y%m%dT%H%M%S%3f"))
}

type Kept = Arc<Mutex<Vec<(chrono::DateTime<Utc>, Event)>>>;

/// Forwards events and keeps those that report problems.
fn keep_events(engine: &Arc<Engine>) -> (Arc<Engine>, Kept) {
    let kept: Kept = Arc::default();
    let (inner, keep) = (engine.events.clone(), Arc::clone(&kept));
    let events = EventSink::new(move |event| {
        if matches!(event, Event::Failed { .. } | Event::Note { .. } | Event::ProjectFinished { .. }) {
            let mut kept = keep.lock();
            if kept.len() < KEPT_EVENTS {
                kept.push((Utc::now(), event.clone()));
            }
        }
        inner.emit(event);
    });
    (Arc::new(Engine { events, ..(**engine).clone() }), kept)
}

/// Where a project ended early, calls to its embedder may be under way: they are paid for, so
/// their vectors are waited for and kept. `all`: also those of other projects, because the process ends.
async fn settle(candidates: &[Candidate], parts: &[ProjectReport], all: bool) {
    for (candidate, part) in candidates.iter().zip(parts) {
        if let Ok(project) = &candidate.project
            && (all || matches!(part.outcome, Outcome::Failed | Outcome::Interrupted))
        {
            project.queue.settle().await;
        }
    }
}

/// Calls all notifiers at once, so that one that does not answer delays no other.
async fn notify(candidates: &[Candidate], report: &Report, page: Option<&str>) {
    let mut sent = Vec::new();
    for (candidate, part) in candidates.iter().zip(&report.projects) {
        // A project whose stages cannot be built has no notifiers either.
        let Ok(project) = &candidate.project else { continue };
        for notifier in project.notifiers.iter().filter(|notifier| crate::notify::wants(notifier.on(), part))
        {
            sent.push(async move {
                if let Err(error) = notifier.send(report, part, page).await {
                    tracing::warn!(project = project.name(), stage = notifier.stage(), error = %error.one_line(), "cannot notify");
                }
            });
        }
    }
    futures::future::join_all(sent).await;
}

async fn run_project(
    engine: Arc<Engine>,
    lease: Lease,
    (id, project, options): (String, Arc<Project>, Arc<Options>),
    saved: Option<SavedProject>,
) -> ProjectReport {
    engine.events.emit(Event::ProjectStarted { project: project.name().to_owned() });
    for chunker in &project.chunkers {
        chunker.begin_run();
    }
    let (events, state) = (engine.events.clone(), Arc::clone(&engine.state));
    let report = match ProjectRun::begin(engine, Arc::clone(&project), options, Some(lease)).await {
        Ok(run) => {
            let error = work(&run, &id, saved).await.err();
            // The first fatal error is the cause; what came after it are its consequences.
            let error = run.fatal().or(error);
            if let Err(error) = record_findings(&run, error.is_none()).await {
                tracing::warn!(error = %error.one_line(), "cannot record the state of repositories");
            }
            let interrupted = run.engine.cancel.is_cancelled()
                && error.as_ref().is_some_and(|error| error.kind == ErrorKind::Cancelled);
            run.stats.count(|counts| {
                counts.price = counts.tokens as f64 * run.project.embedder().price_per_million_tokens() / 1e6;
            });
            run.stats.report(run.name(), error.as_ref(), interrupted)
        }
        Err(error) => {
            RunStats::default().report(project.name(), Some(&error), error.kind == ErrorKind::Cancelled)
        }
    };
    if report.outcome != Outcome::Done
        && project.source.counts_are_free()
        && let Err(error) = count_behind(&project, &*state).await
    {
        tracing::debug!(error = %error.one_line(), "cannot count commits");
    }
    events.emit(Event::ProjectFinished { project: project.name().to_owned(), outcome: report.outcome });
    report
}

/// Takes the project's path to its end, then deletes what it has left in other places.
async fn work(run: &Arc<ProjectRun>, id: &str, saved: Option<SavedProject>) -> StageResult<()> {
    let mut writers = JoinSet::new();
    let execute = Execute::new(run, Writer::start(run, &mut writers));
    let result = match Dispatch::of(run, id, execute).await? {
        Ok(dispatch) => {
            let result = drive(run, saved, &dispatch).await;
            result.and(dispatch.end().await)
        }
        Err(execute) => drive(run, saved, &execute).await,
    };
    // Groups of files that are being written are finished, whatever became of the rest.
    while writers.join_next().await.is_some() {}
    result?;
    if !run.is_embedding_withheld() {
        let end = ProjectEnd { first_run_over: true, ..ProjectEnd::default() };
        run.state.finish_project(run.fence()?, run.name(), &run.place, end, Utc::now()).await?;
    }
    clean_leftovers(run).await
}
