//! A plan: what `apply` would do now, and what it would cost. Writes nothing but the vector cache
//! (from a place that is about to be adopted) and the file that the plan is saved to.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::Utc;

use super::bill::Sent;
use super::orphans::preview_orphans;
use super::preview::Preview;
use super::project::drive;
use super::project_run::ProjectRun;
use super::saved::{Header, PlanWriter};
use super::setup::{Candidate, Engine, Options, Project};
use super::stats::failure;
use crate::model::{Fingerprint, StageError, StageResult};
use crate::plan::{Plan, ProjectPlan};

/// Plans these projects. `exact`: contents are fetched and chunked, so that chunks, texts and
/// tokens are counted; without it they are, where reading contents costs nothing (local Git).
/// `out`: the plan is saved there, for [`run`](super::run()).
pub async fn plan(
    engine: Arc<Engine>,
    candidates: Vec<Candidate>,
    options: Options,
    exact: bool,
    mut out: Option<PlanWriter>,
) -> StageResult<Plan> {
    if let Some(out) = &mut out {
        out.header(&Header::new(options.saved(), bases(&candidates)))?;
    }
    let options = Arc::new(options);
    let mut projects = Vec::new();
    let mut basis = Vec::new();
    let mut all_exact = true;
    let mut sent = Sent::default();
    for candidate in candidates {
        basis.push(candidate.name.clone());
        let recorded = engine.state.repositories(&candidate.name).await?;
        basis.extend(recorded.iter().map(|row| format!("{} {}", row.name, row.revision)));
        let planned = match candidate.project {
            Ok(project) => {
                basis.push(project.basis.fingerprint().to_string());
                let exact = exact || project.source.reads_are_free();
                let (planned, exact) =
                    plan_project(&engine, project, &options, exact, &mut sent, out.as_mut()).await?;
                all_exact &= exact;
                planned
            }
            Err(error) => failed(&candidate.name, &error),
        };
        for repository in &planned.repositories {
            basis.push(repository.repository.clone());
            basis.push(repository.commit.map(|commit| commit.to_string()).unwrap_or_default());
            basis.extend(repository.files.iter().map(|file| format!("{} {}", file.action.sign(), file.path)));
        }
        projects.push(planned);
    }
    if options.whole_file {
        projects.extend(preview_orphans(&engine, &options).await?);
    }
    if let Some(out) = out {
        let removed = projects.iter().filter(|project| project.orphan && project.removes());
        let removed: Vec<String> = removed.map(|project| project.project.clone()).collect();
        out.finish(&removed)?;
    }
    Ok(Plan { version: 1, created_at: Utc::now(), basis: Fingerprint::of(basis), exact: all_exact, projects })
}

/// How the index of each project is made; `None`: its stages cannot be made.
pub(crate) fn bases(candidates: &[Candidate]) -> BTreeMap<String, Option<Fingerprint>> {
    let of = |candidate: &Candidate| candidate.project.as_ref().ok().map(Project::whole_basis);
    candidates.iter().map(|candidate| (candidate.name.clone(), of(candidate))).collect()
}

fn failed(name: &str, error: &StageError) -> ProjectPlan {
    ProjectPlan { error: Some(failure(None, None, error)), ..ProjectPlan::of(name) }
}

/// Plans a project. Returns whether its bill is counted, not estimated.
async fn plan_project(
    engine: &Arc<Engine>,
    project: Arc<Project>,
    options: &Arc<Options>,
    exact: bool,
    sent: &mut Sent,
    out: Option<&mut PlanWriter>,
) -> StageResult<(ProjectPlan, bool)> {
    let name = project.name().to_owned();
    let run = match ProjectRun::begin(Arc::clone(engine), project, Arc::clone(options), None).await {
        Ok(run) => run,
        Err(error) => return Ok((failed(&name, &error), exact)),
    };
    let preview = Preview::new(&run, exact, sent, out);
    let error = drive(&run, None, &preview).await.err();
    if run.engine.cancel.is_cancelled() {
        return Err(StageError::cancelled("engine"));
    }
    let error = run.fatal().or(error);
    let exact = preview.is_exact();
    let mut planned = preview.into_plan();
    let report = run.stats.report(&name, error.as_ref(), false);
    planned.repositories_unchanged = report.counts.repositories_unchanged;
    planned.skipped = report.skipped;
    planned.withheld = report.counts.vectors_withheld;
    planned.guards = report.withheld;
    planned.notes = report.notes;
    planned.failures = report.failures;
    planned.error = report.error;
    Ok((planned, exact))
}
