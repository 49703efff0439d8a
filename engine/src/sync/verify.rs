//! Ledger and store side by side: holes and orphans; and mending them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::parts::ProjectStore;
use super::stats::failure;
use crate::model::{ProjectVerify, StageError, StageResult};
use crate::state::{Believed, Damaged, FileIds, FileKey, Lease, State};

/// Ids in a fetch: what the smallest store takes by URL.
const FETCH: usize = 100;
/// Maximum number of examples reported per project.
const EXAMPLES: usize = 20;
/// Stores may lag behind their writes: a hole counts after a second look, so much later.
const SECOND_LOOK: Duration = Duration::from_secs(2);

/// What a project's check found.
pub struct Finding {
    /// For the report.
    pub report: ProjectVerify,
    /// Files with holes.
    pub damaged: Vec<FileKey>,
    orphans: Vec<String>,
}

/// Compares what the ledger believes to be in each project's place with what is there. Writes
/// nothing. `declared`: the names of all projects of the file.
pub async fn check(
    state: &dyn State,
    projects: &[(String, StageResult<ProjectStore>)],
    declared: &[String],
    cancel: &CancellationToken,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, project) in projects {
        let mut finding = Finding {
            report: ProjectVerify { project: name.clone(), ..ProjectVerify::default() },
            damaged: Vec::new(),
            orphans: Vec::new(),
        };
        let result = match project {
            Ok(project) => check_project(state, project, declared, cancel, &mut finding).await,
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
    state: &dyn State,
    project: &ProjectStore,
    declared: &[String],
    cancel: &CancellationToken,
    finding: &mut Finding,
) -> StageResult<()> {
    let ProjectStore { project: name, namespace, store } = project;
    let place = store.place(namespace).await?;
    finding.report.place = place.to_string();
    let Some(Believed { recorded, open, files: own }) = state.believed(name, &place).await? else {
        return Err(StageError::local("ledger", format!("the ledger knows nothing of {place} yet"))
            .hint("run `reposync apply` first: it takes in what the store holds"));
    };
    finding.report.checked = own.iter().map(|file| file.ids.len() as u64).sum();
    let known: BTreeSet<String> = recorded.into_iter().chain(open).collect();

    // What is there.
    let mut missing: HashMap<&str, &FileIds> =
        own.iter().flat_map(|file| file.ids.iter().map(move |id| (id.as_str(), file))).collect();
    let mut unknown = Vec::new();
    let mut after = None;
    loop {
        if cancel.is_cancelled() {
            return Err(StageError::cancelled(store.stage()));
        }
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
                Some(owner) if owner == name => {
                    finding.report.orphans += 1;
                    example(&mut finding.report, || format!("orphan {}", record.id));
                    finding.orphans.push(record.id);
                }
                // Reported by that project's check.
                Some(owner) if declared.iter().any(|declared| declared == owner) => {}
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
        *files.entry((file.file.repository.as_str(), file.file.path.as_str())).or_default() += 1;
    }
    finding.report.missing = missing.len() as u64;
    for ((repository, path), holes) in files {
        example(&mut finding.report, || format!("missing: {holes} of {repository}:{path}"));
        finding.damaged.push(FileKey::new(repository, path));
    }
    Ok(())
}

fn example(report: &mut ProjectVerify, text: impl FnOnce() -> String) {
    if report.examples.len() < EXAMPLES {
        report.examples.push(text());
    }
}

/// Deletes orphans and marks files with holes, so that the next run writes them again (their
/// vectors come from the cache). The caller has the lease, runs, and checks again.
pub async fn mend(
    state: &dyn State,
    lease: &Lease,
    projects: &[(String, StageResult<ProjectStore>)],
    findings: &mut [Finding],
) -> StageResult<()> {
    for ((name, project), finding) in projects.iter().zip(findings) {
        let (Ok(project), None) = (project, &finding.report.error) else { continue };
        for ids in finding.orphans.chunks(project.store.limits().ids_per_delete.max(1)) {
            lease.while_held(project.store.delete(&project.namespace, ids)).await?;
            finding.report.deleted += ids.len() as u64;
        }
        if !finding.damaged.is_empty() {
            state.mark_damaged(lease.fence(), name, Damaged::Files(finding.damaged.clone())).await?;
        }
    }
    Ok(())
}
