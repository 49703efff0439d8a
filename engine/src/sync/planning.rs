//! A plan: what `apply` would do now, and what it would cost. Writes nothing but the vector cache
//! (from a place that is about to be adopted).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::Utc;
use futures::StreamExt;

use super::adopt::adopt;
use super::estimate::{Bill, LeftOut, Sent, estimate};
use super::inspect::{RepoChanges, RepoState, inspect_repository, known_files};
use super::project_run::ProjectRun;
use super::remove::{GuardDecision, Removal, apply_guard};
use super::setup::{Candidate, Engine, Options, Project, Prune};
use super::spending;
use super::stats::failure;
use super::survey::{Missing, MissingReason, report_empty, report_orphan, survey};
use crate::ledger::Ledger;
use crate::model::{Event, Fingerprint, Phase, SkipReason, StageError, StageResult};
use crate::plan::{
    Action, Estimate, FilePlan, Plan, ProjectPlan, Reason, RecipeParts, RecordedState, RepositoryPlan, Write,
};

/// Repositories looked at at once.
const REPOSITORIES: usize = 4;

/// Secrets of a project that a plan lists; the rest is counted.
const SECRETS_SHOWN: usize = 100;

/// Plans these projects. `exact`: contents are fetched and chunked, so that chunks, texts and
/// tokens are counted; without it they are, where reading contents costs nothing (local Git).
pub async fn plan(
    engine: Arc<Engine>,
    candidates: Vec<Candidate>,
    options: Options,
    exact: bool,
) -> StageResult<Plan> {
    let options = Arc::new(options);
    let mut projects = Vec::new();
    let mut basis = vec![engine.ledger.call(Ledger::revision).await?.to_string()];
    let mut all_exact = true;
    let mut sent = Sent::default();
    for candidate in candidates {
        basis.push(candidate.name.clone());
        let planned = match candidate.project {
            Ok(project) => {
                basis.push(project.basis.to_string());
                let exact = exact || project.source.reads_are_free();
                all_exact &= exact;
                plan_project(&engine, project, &options, exact, &mut sent).await?
            }
            Err(error) => empty(&candidate.name, Some(&error)),
        };
        for repository in &planned.repositories {
            basis.push(repository.repository.clone());
            basis.push(repository.commit.map(|commit| commit.to_string()).unwrap_or_default());
            basis.extend(repository.files.iter().map(|file| format!("{} {}", file.action.sign(), file.path)));
        }
        projects.push(planned);
    }
    Ok(Plan { version: 1, created_at: Utc::now(), basis: Fingerprint::of(basis), exact: all_exact, projects })
}

fn empty(name: &str, error: Option<&StageError>) -> ProjectPlan {
    ProjectPlan {
        project: name.to_owned(),
        repositories: Vec::new(),
        repositories_unchanged: 0,
        estimate: Estimate::default(),
        skipped: Vec::new(),
        withheld: 0,
        guards: Vec::new(),
        secrets: Vec::new(),
        secrets_found: 0,
        notes: Vec::new(),
        failures: Vec::new(),
        error: error.map(|error| failure(None, None, error)),
    }
}

async fn plan_project(
    engine: &Arc<Engine>,
    project: Arc<Project>,
    options: &Arc<Options>,
    exact: bool,
    sent: &mut Sent,
) -> StageResult<ProjectPlan> {
    let name = project.name().to_owned();
    let run = match ProjectRun::begin(Arc::clone(engine), project, Arc::clone(options), true).await {
        Ok(run) => run,
        Err(error) => return Ok(empty(&name, Some(&error))),
    };
    let mut planned = empty(&name, None);
    let result = survey_project(&run, exact, sent, &mut planned).await;
    let report = run.stats.report(&name, result.as_ref().err(), false);
    planned.skipped = report.skipped;
    planned.withheld = report.counts.vectors_withheld;
    planned.guards = report.withheld;
    planned.notes = report.notes;
    planned.failures = report.failures;
    planned.error = report.error;
    planned.repositories.sort_by(|a, b| a.repository.cmp(&b.repository));
    if run.engine.cancel.is_cancelled() {
        return Err(StageError::cancelled("engine"));
    }
    Ok(planned)
}

async fn survey_project(
    run: &Arc<ProjectRun>,
    exact: bool,
    sent: &mut Sent,
    planned: &mut ProjectPlan,
) -> StageResult<()> {
    adopt(run).await?;
    let vectors_before = run.ledger(|ledger, (id, _)| ledger.vector_count(id)).await?;
    let budget = spending::budget(run).await?;
    let survey = survey(run).await?;
    run.emit(Event::Expected { phase: Phase::List, n: survey.present.len() as u64 });
    let mut looks = futures::stream::iter(survey.present)
        .map(|present| async move {
            let name = present.entry.repo.name.clone();
            (name, inspect_repository(run, present).await)
        })
        .buffer_unordered(REPOSITORIES);
    let mut bill = Bill::new(run, sent);
    let mut leaving = Vec::new();
    let mut arriving = BTreeSet::new();
    let mut vanished = Vec::new();
    let mut kept_out = KeptOut::new();
    // Repositories under whose name there is nothing, and those whose work is unknown.
    let mut absent = BTreeSet::new();
    let mut incomplete = BTreeSet::new();
    let mut works = Vec::new();
    while let Some((name, look)) = looks.next().await {
        run.emit(Event::Done { phase: Phase::List, n: 1 });
        match look? {
            RepoState::Unchanged => planned.repositories_unchanged += 1,
            RepoState::Empty => drop(absent.insert(name)),
            RepoState::Failed => drop(incomplete.insert(name)),
            RepoState::Vanished(cause) => {
                vanished.push((name, MissingReason::Orphan { certain: true }, cause))
            }
            RepoState::Changed(work) => {
                for (path, reason) in work.skipped.iter().chain(&work.diff.skipped) {
                    run.stats.skipped(&name, path, *reason);
                }
                leaving
                    .extend(work.diff.removals.iter().map(|known| Removal::new(&name, known.clone(), true)));
                arriving.extend(work.diff.writes.iter().map(|write| write.desired.entry.sha));
                kept_out.extend(
                    work.skipped.iter().map(|(path, reason)| ((name.clone(), path.clone()), *reason)),
                );
                let mut repository = repository_plan(run, &work).await?;
                leave_out(&mut repository, &estimate(run, &work, exact, &mut bill).await?);
                planned.repositories.push(repository);
                if !run.options.spending.is_idle(budget) {
                    works.push(*work);
                }
            }
        }
    }
    if let Some(withheld) = spending::decide(run, &works, budget).await? {
        run.withheld(withheld);
    }
    report_empty(run, &absent);
    absent.extend(vanished.iter().map(|(name, ..)| name.clone()));
    let unlisted =
        survey.gone.into_iter().map(|Missing { name, why }| (name, why, "is not in the listing any more"));
    for (name, why, cause) in unlisted.chain(vanished) {
        let counted = match why.unless_absent(&absent) {
            // Its files stay until they are all in under the new name.
            MissingReason::Renamed(to) if incomplete.contains(&to) => continue,
            MissingReason::Deselected | MissingReason::Renamed(_) => true,
            MissingReason::Orphan { certain } if run.options.prune == Prune::No || !certain => {
                report_orphan(run, &name, cause).await?;
                continue;
            }
            MissingReason::Orphan { .. } => run.options.prune == Prune::Standing,
        };
        let known = known_files(run, &name).await?;
        leaving.extend(known.into_iter().map(|file| Removal::new(&name, file, counted)));
    }
    let GuardDecision { removed, .. } = apply_guard(run, leaving, vectors_before, arriving).await?;
    let mut secrets = bill.take_secrets();
    secrets.sort_by(|a, b| (&a.repository, &a.path, a.line).cmp(&(&b.repository, &b.path, b.line)));
    planned.secrets_found = secrets.len() as u64;
    secrets.truncate(SECRETS_SHOWN);
    planned.secrets = secrets;
    planned.estimate = bill.total(run);
    planned.estimate.vectors_deleted += removed.iter().map(|file| file.vectors).sum::<u64>();
    list_removals(planned, &removed, &kept_out);
    planned.repositories.retain(|repository| !repository.files.is_empty());
    Ok(())
}

/// What only the content keeps out of the index does not enter it, and leaves it where it was in.
fn leave_out(repository: &mut RepositoryPlan, left_out: &LeftOut) {
    repository.files.retain_mut(|file| {
        let Some(reason) = left_out.get(&file.path) else { return true };
        let indexed = file.action == Action::Change;
        if indexed {
            (file.action, file.reason) = (Action::Remove, reason.label().to_owned());
        }
        indexed
    });
}

/// Files of the tree that names, modes and sizes keep out, by repository and path.
type KeptOut = BTreeMap<(String, String), SkipReason>;

/// Enters what leaves under its repository. A path that is the origin of a move is told there.
fn list_removals(planned: &mut ProjectPlan, removed: &[Removal], kept_out: &KeptOut) {
    for file in removed.iter().filter(|file| file.vectors > 0) {
        let at = planned.repositories.iter().position(|repository| repository.repository == file.repository);
        let at = at.unwrap_or_else(|| {
            planned.repositories.push(RepositoryPlan {
                repository: file.repository.clone(),
                commit: None,
                previous: None,
                files: Vec::new(),
                unchanged: 0,
            });
            planned.repositories.len() - 1
        });
        let repository = &mut planned.repositories[at];
        let moved = repository.files.iter().any(|other| other.from.as_deref() == Some(file.path.as_str()));
        if !moved {
            let reason = match kept_out.get(&(file.repository.clone(), file.path.clone())) {
                Some(reason) => reason.label(),
                None if repository.commit.is_some() => "deleted",
                None => "repository leaves the index",
            };
            repository.files.push(FilePlan {
                action: Action::Remove,
                path: file.path.clone(),
                from: None,
                reason: reason.to_owned(),
            });
        }
    }
    for repository in &mut planned.repositories {
        repository.files.sort_by(|a, b| a.path.cmp(&b.path));
    }
}

async fn repository_plan(run: &Arc<ProjectRun>, work: &RepoChanges) -> StageResult<RepositoryPlan> {
    let mut files = Vec::with_capacity(work.diff.writes.len());
    for write in &work.diff.writes {
        let action = match (write.is_new, &write.moved_from) {
            (true, Some(_)) => Action::Move,
            (true, None) => Action::Add,
            (false, _) => Action::Change,
        };
        files.push(FilePlan {
            action,
            path: write.desired.entry.path.clone(),
            from: write.moved_from.clone(),
            reason: reason(run, write).await?,
        });
    }
    Ok(RepositoryPlan {
        repository: work.entry.repo.name.clone(),
        commit: Some(work.commit),
        previous: work.previous,
        files,
        unchanged: work.diff.unchanged,
    })
}

async fn reason(run: &Arc<ProjectRun>, write: &Write) -> StageResult<String> {
    Ok(match &write.reason {
        Reason::New if write.moved_from.is_some() => "moved".to_owned(),
        Reason::New => "new".to_owned(),
        Reason::Content => "content".to_owned(),
        Reason::Place => "moves to another place".to_owned(),
        Reason::Full => "--full".to_owned(),
        Reason::State(state) => match state {
            RecordedState::Failed => "failed before",
            RecordedState::Unfinished => "an interrupted write",
            RecordedState::Adopted => "found in the store, to be compared",
            RecordedState::Damaged => "damaged in the store",
            RecordedState::Settled | RecordedState::Skipped(_) => "as recorded",
        }
        .to_owned(),
        Reason::Recipe(old) => {
            let old = old.clone();
            let parts = run.ledger(move |ledger, _| ledger.recipe_parts(&old)).await?;
            let old: Option<RecipeParts> = parts.and_then(|json| serde_json::from_str(&json).ok());
            match (old, run.recipes.of(&write.desired.entry.path)) {
                (Some(old), Some(new)) => FilePlan::recipe_reason(&new.parts.difference(&old)),
                _ => "recipe".to_owned(),
            }
        }
    })
}
