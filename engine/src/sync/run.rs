//! A run: projects side by side, each from its listing to its last recorded file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use futures::StreamExt;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::adopt::adopt;
use super::behind::count_behind;
use super::file::Files;
use super::inspect::{RepoChanges, RepoState, finish, inspect_repository, known_files};
use super::orphans::orphan_projects;
use super::project_run::ProjectRun;
use super::remove::{GuardDecision, Removal, apply_guard, clean_leftovers, remove_files};
use super::selected::record_findings;
use super::setup::{Candidate, Engine, Options, Project, Prune, selection_fingerprint};
use super::spending;
use super::stats::RunStats;
use super::survey::{Listed, Missing, MissingReason, report_empty, report_orphan, survey};
use super::writer::Writer;
use crate::ledger::NewRun;
use crate::model::{
    ErrorKind, Event, EventSink, GitSha, Outcome, Phase, ProjectReport, RepoEntry, Report, StageError,
    StageResult,
};

/// Repositories of a project under way at once: enough to hide the latency of their listings, few
/// enough that each finishes soon.
const REPOSITORIES: usize = 4;
/// Events kept for the history of a run.
const KEPT_EVENTS: usize = 200;

/// Makes the index of these projects equal to what is declared.
///
/// The error is of the ledger, before anything was done; whatever happens in a project is in its
/// part of the report. The caller holds the run lock.
pub async fn run(
    engine: Arc<Engine>,
    candidates: Vec<Candidate>,
    options: Options,
    trigger: &str,
) -> StageResult<Report> {
    let started_at = Utc::now();
    let id = options.id.clone().unwrap_or_else(|| run_id(started_at));
    let span = tracing::info_span!("run", run = %id, trigger);
    run_all(engine, candidates, options, (id, trigger, started_at)).instrument(span).await
}

async fn run_all(
    engine: Arc<Engine>,
    candidates: Vec<Candidate>,
    options: Options,
    (id, trigger, started_at): (String, &str, DateTime<Utc>),
) -> StageResult<Report> {
    let clock = std::time::Instant::now();
    let begun = NewRun {
        id: id.clone(),
        request: options.request.clone().unwrap_or_else(|| id.clone()),
        project: only_one(&candidates),
        trigger: trigger.to_owned(),
    };
    let keep = engine.history;
    engine.ledger.call(move |ledger| ledger.start_run(&begun, keep, started_at)).await?;
    let (engine, kept) = keep_events(&engine);

    let options = Arc::new(options);
    let mut tasks = JoinSet::new();
    let mut reports: BTreeMap<usize, ProjectReport> = BTreeMap::new();
    for (index, candidate) in candidates.iter().enumerate() {
        match &candidate.project {
            Ok(project) => {
                let (engine, project, options) =
                    (Arc::clone(&engine), Arc::clone(project), Arc::clone(&options));
                let span = tracing::info_span!("project", project = project.name());
                let work = async move { (index, run_project(engine, project, options).await) };
                tasks.spawn(work.instrument(span));
            }
            Err(error) => {
                reports.insert(index, RunStats::default().report(&candidate.name, Some(error), false));
            }
        }
    }
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok((index, report)) => drop(reports.insert(index, report)),
            Err(panic) => tracing::error!(error = %panic, "a project's task panicked"),
        }
    }
    if engine.cancel.is_cancelled() {
        // What is paid for gets into the cache before the process ends.
        for project in candidates.iter().filter_map(|candidate| candidate.project.as_ref().ok()) {
            project.queue.settle().await;
        }
    }
    for (index, candidate) in candidates.iter().enumerate() {
        reports.entry(index).or_insert_with(|| {
            let error = StageError::new("engine", ErrorKind::Bug, "the project's task panicked");
            RunStats::default().report(&candidate.name, Some(&error), false)
        });
    }
    let mut parts: Vec<ProjectReport> = reports.into_values().collect();
    settle(&candidates, &parts).await;
    if options.whole_file {
        parts.extend(orphan_projects(&engine, &options).await);
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
    let events = std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner));
    let recorded = report.clone();
    if let Err(error) =
        engine.ledger.call(move |ledger| ledger.finish_run(&recorded, &events, Utc::now())).await
    {
        // What was done is recorded file by file; only the history lacks this run.
        tracing::error!(error = %error.one_line(), "cannot record the run's end");
    }
    notify(&candidates, &report).await;
    Ok(report)
}

/// The project of a run over one project.
fn only_one(candidates: &[Candidate]) -> Option<String> {
    match candidates {
        [only] => Some(only.name.clone()),
        _ => None,
    }
}

/// A new run's id: sortable by time, unique among processes and within this one.
pub fn run_id(now: chrono::DateTime<Utc>) -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let made = MADE.fetch_add(1, Ordering::Relaxed) & 0xfff;
    format!("{}-{:05x}{made:03x}", now.format("%Y%m%dT%H%M%S%3f"), std::process::id() & 0xf_ffff)
}

type Kept = Arc<Mutex<Vec<(chrono::DateTime<Utc>, Event)>>>;

/// Keeps, beside passing it on, what tells of trouble.
fn keep_events(engine: &Arc<Engine>) -> (Arc<Engine>, Kept) {
    let kept: Kept = Arc::default();
    let (inner, keep) = (engine.events.clone(), Arc::clone(&kept));
    let events = EventSink::new(move |event| {
        if matches!(event, Event::Failed { .. } | Event::Note { .. } | Event::ProjectFinished { .. }) {
            let mut kept = keep.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < KEPT_EVENTS {
                kept.push((Utc::now(), event.clone()));
            }
        }
        inner.emit(event);
    });
    (Arc::new(Engine { events, ..(**engine).clone() }), kept)
}

/// Where a project ended early, calls to its embedder may be under way: they are paid for, so
/// their vectors are waited for and kept.
async fn settle(candidates: &[Candidate], parts: &[ProjectReport]) {
    for (candidate, part) in candidates.iter().zip(parts) {
        if let (Ok(project), Outcome::Failed | Outcome::Interrupted) = (&candidate.project, part.outcome) {
            project.queue.settle().await;
        }
    }
}

async fn notify(candidates: &[Candidate], report: &Report) {
    for (candidate, part) in candidates.iter().zip(&report.projects) {
        // A project whose stages cannot be made has no notifiers either.
        let Ok(project) = &candidate.project else { continue };
        for notifier in &project.notifiers {
            if !crate::notify::wants(notifier.on(), part) {
                continue;
            }
            if let Err(error) = notifier.send(report, part).await {
                tracing::warn!(project = project.name(), stage = notifier.stage(), error = %error.one_line(), "cannot notify");
            }
        }
    }
}

async fn run_project(engine: Arc<Engine>, project: Arc<Project>, options: Arc<Options>) -> ProjectReport {
    engine.events.emit(Event::ProjectStarted { project: project.name().to_owned() });
    for chunker in &project.chunkers {
        chunker.begin_run();
    }
    let (events, ledger) = (engine.events.clone(), Arc::clone(&engine.ledger));
    let report = match ProjectRun::begin(engine, Arc::clone(&project), options, false).await {
        Ok(run) => {
            let error = drive(&run).await.err();
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
        && project.source.reads_are_free()
        && let Err(error) = count_behind(&project, &ledger).await
    {
        tracing::debug!(error = %error.one_line(), "cannot count commits");
    }
    events.emit(Event::ProjectFinished { project: project.name().to_owned(), outcome: report.outcome });
    report
}

/// A repository whose files are in, or recorded as failed.
struct RepoEnd {
    entry: RepoEntry,
    commit: GitSha,
    settled: bool,
    /// The spending guard withheld files of it: its commit is not the one indexed.
    withheld: bool,
    leaving: Vec<Removal>,
}

impl RepoEnd {
    /// Records the repository's end. Where files were withheld, the commit indexed before stays.
    async fn finish(&self, run: &Arc<ProjectRun>, settled: bool) -> StageResult<()> {
        if self.withheld {
            return Ok(());
        }
        finish(run, &self.entry, self.commit, settled).await
    }
}

/// What the repositories of a project came to.
#[derive(Default)]
struct Ends {
    ended: Vec<RepoEnd>,
    gone: Vec<(String, &'static str)>,
    /// Repositories that could not be looked at, or had failed files.
    incomplete: BTreeSet<String>,
    /// Repositories without commits, of which the ledger knows nothing under this name.
    empty: BTreeSet<String>,
}

async fn drive(run: &Arc<ProjectRun>) -> StageResult<()> {
    adopt(run).await?;
    let vectors_before = run.ledger(|ledger, (id, _)| ledger.vector_count(id)).await?;
    let budget = spending::budget(run).await?;
    let survey = survey(run).await?;
    let total = survey.present.len() as u64;
    run.stats.count(|counts| counts.repositories = total);
    run.emit(Event::Expected { phase: Phase::List, n: total });

    let mut writers = JoinSet::new();
    let writer = Writer::start(run, &mut writers);
    let ends = Mutex::new(Ends::default());
    let result = repositories(run, &writer, survey.present, budget, &ends).await;
    drop(writer);
    while writers.join_next().await.is_some() {}
    result?;
    run.check_stopped()?;
    let ends = ends.into_inner().unwrap_or_else(PoisonError::into_inner);
    let recipes: Vec<_> = run
        .recipes
        .all()
        .iter()
        .map(|recipe| (recipe.fingerprint.clone(), serde_json::to_string(&recipe.parts).unwrap_or_default()))
        .collect();
    run.ledger(move |ledger, _| ledger.remember_recipes(&recipes)).await?;
    removals(run, ends, survey.gone, vectors_before).await?;
    if !run.is_embedding_withheld() {
        run.ledger(|ledger, (id, _)| ledger.first_run_ended(id, Utc::now())).await?;
    }
    clean_leftovers(run).await
}

/// The one place of a project where things happen side by side. A repository is written as soon as
/// it is inspected, except where the spending guard has to see all of them first.
async fn repositories(
    run: &Arc<ProjectRun>,
    writer: &Writer,
    present: Vec<Listed>,
    budget: spending::Budget,
    ends: &Mutex<Ends>,
) -> StageResult<()> {
    if run.options.spending.is_idle(budget) {
        let work = present.into_iter().map(|present| async move {
            if let Some(work) = inspect(run, present, ends).await {
                execute(run, writer, *work, ends).await;
            }
        });
        futures::stream::iter(work).buffer_unordered(REPOSITORIES).collect::<()>().await;
    } else {
        let inspected = present.into_iter().map(|present| inspect(run, present, ends));
        let inspected = futures::stream::iter(inspected).buffer_unordered(REPOSITORIES);
        let works: Vec<RepoChanges> =
            inspected.filter_map(|work| async { work.map(|work| *work) }).collect().await;
        run.fatal().map_or(Ok(()), Err)?;
        if let Some(withheld) = spending::decide(run, &works, budget).await? {
            run.withhold_embedding(withheld);
        }
        let work = works.into_iter().map(|work| execute(run, writer, work, ends));
        futures::stream::iter(work).buffer_unordered(REPOSITORIES).collect::<()>().await;
    }
    run.fatal().map_or(Ok(()), Err)
}

/// Compares one repository with the ledger. `None`: there is nothing to write; why stands in `ends`.
async fn inspect(run: &Arc<ProjectRun>, present: Listed, ends: &Mutex<Ends>) -> Option<Box<RepoChanges>> {
    let name = present.entry.repo.name.clone();
    let span = tracing::info_span!("repository", repository = name);
    let looked = async {
        run.check_stopped()?;
        inspect_repository(run, present).await
    };
    let looked = looked.instrument(span).await;
    run.emit(Event::Done { phase: Phase::List, n: 1 });
    let lock = || ends.lock().unwrap_or_else(PoisonError::into_inner);
    match looked {
        Ok(RepoState::Changed(work)) => return Some(work),
        Ok(RepoState::Unchanged) => {
            run.stats.count(|counts| counts.repositories_unchanged += 1);
            run.emit(Event::RepositoryUnchanged { project: run.name().to_owned(), repository: name });
        }
        Ok(RepoState::Empty) => {
            run.findings.empty(&name);
            lock().empty.insert(name);
        }
        Ok(RepoState::Failed) => drop(lock().incomplete.insert(name)),
        Ok(RepoState::Vanished(cause)) => lock().gone.push((name, cause)),
        Err(error) => failed(run, name, error, ends),
    }
    None
}

/// Writes one repository's files and records how it ended.
async fn execute(run: &Arc<ProjectRun>, writer: &Writer, work: RepoChanges, ends: &Mutex<Ends>) {
    let name = work.entry.repo.name.clone();
    let span = tracing::info_span!("repository", repository = name);
    let written = async {
        run.check_stopped()?;
        let end = files(run, writer, work).await?;
        if !end.settled {
            ends.lock().unwrap_or_else(PoisonError::into_inner).incomplete.insert(name.clone());
        }
        if end.leaving.is_empty() {
            end.finish(run, end.settled).await?;
        } else {
            ends.lock().unwrap_or_else(PoisonError::into_inner).ended.push(end);
        }
        Ok(())
    };
    if let Err(error) = written.instrument(span).await {
        failed(run, name, error, ends);
    }
}

/// A repository's error is an entry of the report; any other ends the project.
fn failed(run: &Arc<ProjectRun>, name: String, error: StageError, ends: &Mutex<Ends>) {
    if error.kind.is_item() {
        run.repository_failed(&name, &error);
        ends.lock().unwrap_or_else(PoisonError::into_inner).incomplete.insert(name);
    } else {
        run.fail(error);
    }
}

/// Fetches and writes what a repository needs.
async fn files(run: &Arc<ProjectRun>, writer: &Writer, work: RepoChanges) -> StageResult<RepoEnd> {
    let RepoChanges { entry, commit, diff, skipped, .. } = work;
    let repository = entry.repo.name.as_str();
    for (path, reason) in skipped.iter().chain(&diff.skipped) {
        run.stats.skipped(repository, path, *reason);
    }
    run.stats.count(|counts| {
        counts.files += diff.unchanged + diff.writes.len() as u64 + diff.skipped.len() as u64;
        counts.files_unchanged += diff.unchanged;
    });
    let changes = diff.writes.len() as u64;
    run.emit(Event::RepositoryPlanned {
        project: run.name().to_owned(),
        repository: repository.to_owned(),
        changes,
        removals: diff.removals.len() as u64,
    });
    for phase in [Phase::Fetch, Phase::Chunk, Phase::Commit] {
        run.emit(Event::Expected { phase, n: changes });
    }
    if changes > 0 || !diff.removals.is_empty() {
        // A kill from here on, and the edit taken back: what was done is to be undone.
        let name = repository.to_owned();
        run.ledger(move |ledger, (id, _)| ledger.unsettle(id, &name)).await?;
    }
    let moved: BTreeSet<String> = diff.writes.iter().filter_map(|write| write.moved_from.clone()).collect();
    let mut failed = super::file::FailedFiles::default();
    if !diff.writes.is_empty() {
        let wanted = diff.writes.iter().map(|write| write.desired.entry.clone()).collect();
        let mut sink = Files::new(run, writer, &entry.repo, commit, diff.writes);
        let fetched = {
            let _fetch = tokio::select! {
                room = run.fetches.take(1) => room,
                () = run.stop.cancelled() => return Err(StageError::cancelled("engine")),
            };
            run.project.source.fetch(&entry.repo, commit, wanted, &mut sink).await
        };
        let fetched =
            fetched.and_then(|()| if run.stop.is_cancelled() { Ok(()) } else { sink.check_complete() });
        // Files under way are finished whatever became of the rest.
        let ended = sink.finish().await;
        fetched?;
        failed = ended?;
    }
    let leaving = diff
        .removals
        .into_iter()
        .filter(|known| !failed.keep.contains(&known.path))
        .map(|known| {
            let moved = moved.contains(&known.path);
            Removal { moved, ..Removal::new(repository, known, true) }
        })
        .collect();
    let withheld = failed.withheld > 0;
    Ok(RepoEnd { settled: failed.count == 0 && !withheld, withheld, entry, commit, leaving })
}

/// Removes what leaves the index, and ends the repositories that waited for it.
async fn removals(
    run: &Arc<ProjectRun>,
    ends: Ends,
    gone: Vec<Missing>,
    vectors_before: u64,
) -> StageResult<()> {
    let Ends { ended, gone: vanished, incomplete, empty: mut absent } = ends;
    report_empty(run, &absent);
    absent.extend(vanished.iter().map(|(name, _)| name.clone()));
    let mut leaving: Vec<Removal> = ended.iter().flat_map(|end| end.leaving.iter().cloned()).collect();
    let mut dissolved = Vec::new();
    let mut postponed = false;
    let vanished =
        vanished.into_iter().map(|(name, cause)| (name, MissingReason::Orphan { certain: true }, cause));
    let unlisted = gone.into_iter().map(|gone| (gone.name, gone.why, "is not in the listing any more"));
    for (name, why, cause) in unlisted.chain(vanished) {
        let counted = match why.unless_absent(&absent) {
            MissingReason::Deselected => true,
            // Its files stay until they are all in under the new name.
            MissingReason::Renamed(to) if incomplete.contains(&to) => continue,
            MissingReason::Renamed(to) => {
                run.note(format!("repository `{name}` is now `{to}`"));
                true
            }
            MissingReason::Orphan { certain } => {
                if run.options.prune == Prune::No || !certain {
                    report_orphan(run, &name, cause).await?;
                    continue;
                }
                run.options.prune == Prune::Standing
            }
        };
        let known = known_files(run, &name).await?;
        leaving.extend(known.into_iter().map(|file| Removal::new(&name, file, counted)));
        dissolved.push(name);
    }

    let GuardDecision { removed, withheld } =
        apply_guard(run, leaving, vectors_before, BTreeSet::new()).await?;
    remove_files(run, removed).await?;
    let kept: BTreeSet<&str> = withheld.iter().map(|file| file.repository.as_str()).collect();
    for end in &ended {
        let settled = end.settled && !kept.contains(end.entry.repo.name.as_str());
        end.finish(run, settled).await?;
    }
    for name in dissolved {
        if kept.contains(name.as_str()) {
            postponed = true;
            continue;
        }
        run.ledger(move |ledger, (id, _)| ledger.remove_repository(id, &name)).await?;
    }
    if !postponed {
        let selection = selection_fingerprint(&run.project.selection).to_string();
        run.ledger(move |ledger, (id, _)| ledger.set_selection(id, &selection)).await?;
    }
    Ok(())
}
