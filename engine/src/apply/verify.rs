//! Ledger and store side by side: holes and orphans; and mending them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::project_run::ProjectRun;
use super::setup::{Candidate, Engine, Options, Project};
use super::tally::failure;
use crate::ledger::FileIds;
use crate::model::{ProjectVerify, StageError, StageResult};

/// Ids in a fetch: what the smallest store takes by URL.
const FETCH: usize = 100;
/// Examples told for each project.
const EXAMPLES: usize = 20;
/// Stores may lag behind their writes: a hole counts after a second look, so much later.
const SECOND_LOOK: Duration = Duration::from_secs(2);

/// What a project's check found.
pub struct Finding {
    /// For the report.
    pub report: ProjectVerify,
    /// Files with holes: repository and path.
    pub damaged: Vec<(String, String)>,
    orphans: Vec<String>,
}

/// Compares what the ledger believes to be in each project's place with what is there. Writes
/// nothing to the stores. `declared`: the names of all projects of the file.
pub async fn check(engine: &Arc<Engine>, candidates: &[Candidate], options: &Options) -> Vec<Finding> {
    let mut findings = Vec::new();
    for candidate in candidates {
        let mut finding = Finding {
            report: ProjectVerify { project: candidate.name.clone(), ..ProjectVerify::default() },
            damaged: Vec::new(),
            orphans: Vec::new(),
        };
        let result = match &candidate.project {
            Ok(project) => check_project(engine, project, options, &mut finding).await,
            Err(error) => Err(error.clone()),
        };
        if let Err(error) = result {
            finding.report.error = Some(failure(None, None, &error));
        }
        findings.push(finding);
    }
    findings
}

async fn check_project(
    engine: &Arc<Engine>,
    project: &Arc<Project>,
    options: &Options,
    finding: &mut Finding,
) -> StageResult<()> {
    let run =
        ProjectRun::begin(Arc::clone(engine), Arc::clone(project), Arc::new(options.clone()), true).await?;
    finding.report.place = run.place.to_string();
    let place = run.place_id;
    // A ledger that was lost knows nothing: everything in the store would look like an orphan.
    if run.is_scratch() || !run.ledger(move |ledger, (id, _)| ledger.is_adopted(id, place)).await? {
        return Err(StageError::local("ledger", format!("the ledger knows nothing of {} yet", run.place))
            .hint("run `reposync apply` first: it takes in what the store holds"));
    }
    let ((all, open), own) = run
        .ledger(move |ledger, (id, _)| Ok((ledger.ids_in_place(place)?, ledger.ids_of_files(id, place)?)))
        .await?;
    finding.report.checked = own.iter().map(|file| file.ids.len() as u64).sum();
    let known: BTreeSet<String> = all.into_iter().chain(open).collect();

    // What is there.
    let store = &project.store;
    let namespace = run.place.namespace.as_str();
    let mut missing: HashMap<&str, &FileIds> =
        own.iter().flat_map(|file| file.ids.iter().map(move |id| (id.as_str(), file))).collect();
    let mut unknown = Vec::new();
    let mut after = None;
    loop {
        run.check_stopped()?;
        let page = store.list(namespace, "", after).await?;
        for id in page.ids {
            if missing.remove(id.as_str()).is_none() && !known.contains(&id) {
                unknown.push(id);
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }

    // Ids that the ledger does not know are orphans only if they say that they are this file's.
    for ids in unknown.chunks(FETCH) {
        for record in store.fetch(namespace, ids).await? {
            match record.metadata.get("project").and_then(Value::as_str) {
                Some(name) if name == run.name() => {
                    finding.report.orphans += 1;
                    example(&mut finding.report, || format!("orphan {}", record.id));
                    finding.orphans.push(record.id);
                }
                // Another project's check tells of it.
                Some(name) if options.declared.iter().any(|declared| declared == name) => {}
                _ => finding.report.foreign += 1,
            }
        }
    }

    // A hole is one after a second look.
    if !missing.is_empty() {
        tokio::time::sleep(SECOND_LOOK).await;
        let ids: Vec<String> = missing.keys().map(|id| (*id).to_owned()).collect();
        for ids in ids.chunks(FETCH) {
            for record in store.fetch(namespace, ids).await? {
                missing.remove(record.id.as_str());
            }
        }
    }
    let mut files: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for file in missing.values() {
        *files.entry((file.repository.as_str(), file.path.as_str())).or_default() += 1;
    }
    finding.report.missing = missing.len() as u64;
    for ((repository, path), holes) in files {
        example(&mut finding.report, || format!("missing: {holes} of {repository}:{path}"));
        finding.damaged.push((repository.to_owned(), path.to_owned()));
    }
    Ok(())
}

fn example(report: &mut ProjectVerify, text: impl FnOnce() -> String) {
    if report.examples.len() < EXAMPLES {
        report.examples.push(text());
    }
}

/// Deletes orphans and marks files with holes, so that the next run writes them again (their
/// vectors come from the cache). The caller holds the run lock, runs, and checks again.
pub async fn mend(
    engine: &Arc<Engine>,
    candidates: &[Candidate],
    findings: &mut [Finding],
) -> StageResult<()> {
    for (candidate, finding) in candidates.iter().zip(findings) {
        let (Ok(project), None) = (&candidate.project, &finding.report.error) else { continue };
        for ids in finding.orphans.chunks(project.store.limits().ids_per_delete.max(1)) {
            project.store.delete(&project.row.namespace, ids).await?;
            finding.report.deleted += ids.len() as u64;
        }
        let (name, damaged) = (candidate.name.clone(), finding.damaged.clone());
        engine
            .ledger
            .call(move |ledger| match ledger.project_id(&name)? {
                Some(id) => ledger.mark_damaged(id, &damaged),
                None => Ok(()),
            })
            .await?;
    }
    Ok(())
}
