//! What leaves the index: files that are not wanted any more, vectors in places that their files
//! have left. Under the deletion guard, and only after everything new is in.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::project_run::ProjectRun;
use crate::ledger::{FileKey, Leftover};
use crate::model::{Event, GitSha, GuardKind, StageError, StageResult, Withheld};
use crate::plan::Recorded;
use crate::store::VectorStore;

/// A file that is to leave the index.
#[derive(Debug, Clone)]
pub(crate) struct Removal {
    pub(crate) repository: String,
    pub(crate) path: String,
    pub(crate) blob_sha: Option<GitSha>,
    pub(crate) vectors: u64,
    /// True where the guard counts it.
    pub(crate) counted: bool,
    /// True where its content is in the index under another path: it is told as moved.
    pub(crate) moved: bool,
}

impl Removal {
    pub(crate) fn new(repository: &str, known: Recorded, counted: bool) -> Self {
        Self {
            repository: repository.to_owned(),
            path: known.path,
            blob_sha: known.blob_sha,
            vectors: known.vectors,
            counted,
            moved: false,
        }
    }

    fn key(&self) -> (String, String) {
        (self.repository.clone(), self.path.clone())
    }
}

/// What the guard makes of the files that are to leave.
pub(crate) struct GuardDecision {
    /// To be removed.
    pub(crate) removed: Vec<Removal>,
    /// To be kept, because too much would go.
    pub(crate) withheld: Vec<Removal>,
}

/// Applies the guard. `arriving`: blobs that a plan is about to index (a run has indexed them).
pub(crate) async fn apply_guard(
    run: &Arc<ProjectRun>,
    leaving: Vec<Removal>,
    vectors_before: u64,
    arriving: BTreeSet<GitSha>,
) -> StageResult<GuardDecision> {
    let gone: BTreeSet<(String, String)> = leaving.iter().map(Removal::key).collect();
    let with_successor = run
        .ledger(move |ledger, (id, _)| {
            leaving
                .into_iter()
                .map(|file| {
                    let successor = match file.blob_sha {
                        Some(blob) if arriving.contains(&blob) => true,
                        Some(blob) if file.counted => {
                            ledger.files_of_blob(id, blob)?.iter().any(|other| !gone.contains(other))
                        }
                        _ => false,
                    };
                    Ok((file, successor))
                })
                .collect::<StageResult<Vec<_>>>()
        })
        .await?;
    let counts = |(file, successor): &(Removal, bool)| file.counted && !successor;
    let vectors: u64 = with_successor.iter().filter(|file| counts(file)).map(|(file, _)| file.vectors).sum();
    let withhold = run.options.guard.withholds(vectors, vectors_before);
    let (withheld, removed): (Vec<_>, Vec<_>) =
        with_successor.into_iter().partition(|file| withhold && counts(file));
    let files = |list: Vec<(Removal, bool)>| list.into_iter().map(|(file, _)| file).collect();
    let verdict = GuardDecision { removed: files(removed), withheld: files(withheld) };
    if !verdict.withheld.is_empty() {
        let message = format!(
            "deletion guard: {vectors} of {vectors_before} vectors would go ({} files), more than `max_delete_ratio` allows; \
             they are kept. If that is meant: `reposync apply --allow-deletes` (daemon: POST /sync {{\"allow_deletes\": true}})",
            verdict.withheld.len()
        );
        run.withheld(Withheld { guard: GuardKind::Deletion, amount: vectors, message });
    }
    Ok(verdict)
}

/// Deletes the vectors of files, wherever they are, then forgets the files.
pub(crate) async fn remove_files(run: &Arc<ProjectRun>, files: Vec<Removal>) -> StageResult<()> {
    let mut stores = Stores::default();
    // So many files at once that their ids fill a call or two, whatever the store takes.
    for batch in files.chunks(200) {
        run.check_stopped()?;
        let keys: Vec<(String, String)> = batch.iter().map(Removal::key).collect();
        let asked = keys.clone();
        let ids = run
            .ledger(move |ledger, project| {
                // A file that is wanted again after a kill in the middle of this is not whole.
                ledger.mark_damaged(project.0, &asked)?;
                let mut ids = Vec::new();
                for (repository, path) in &asked {
                    for id in ledger.all_ids(project, &FileKey { repository, path })? {
                        ids.push((id, repository.clone(), path.clone()));
                    }
                }
                Ok(ids)
            })
            .await?;
        let mut by_place: BTreeMap<i64, Vec<String>> = BTreeMap::new();
        let mut left = Vec::new();
        for (leftover, repository, path) in ids {
            if stores.of(run, leftover.place).await?.is_some() {
                by_place.entry(leftover.place).or_default().push(leftover.id);
            } else {
                left.push((leftover, repository, path));
            }
        }
        for (place, ids) in by_place {
            delete(run, &mut stores, place, &ids).await?;
        }
        run.ledger(move |ledger, project| ledger.remove_files(project, &keys, &left)).await?;
        for file in batch {
            // A path that never had vectors was never in the index.
            if file.vectors > 0 && !file.moved {
                run.stats.count(|counts| counts.files_removed += 1);
                run.emit(Event::FileRemoved {
                    project: run.name().to_owned(),
                    repository: file.repository.clone(),
                    path: file.path.clone(),
                });
            }
        }
    }
    Ok(())
}

/// Deletes what moved files left behind in other places; reports places that nothing reaches.
pub(crate) async fn clean_leftovers(run: &Arc<ProjectRun>) -> StageResult<()> {
    let leftovers = run.ledger(|ledger, (_, name)| ledger.leftovers(name)).await?;
    let mut by_place: BTreeMap<i64, Vec<Leftover>> = BTreeMap::new();
    for leftover in leftovers {
        by_place.entry(leftover.place).or_default().push(leftover);
    }
    let mut stores = Stores::default();
    for (place, leftovers) in by_place {
        run.check_stopped()?;
        if stores.of(run, place).await?.is_none() {
            let place = run.ledger(move |ledger, _| ledger.place(place)).await?;
            run.note(format!(
                "orphan place {place}: no stage of the file reaches it any more; {} vectors of `{}` are left there. \
                 To clean it, put a stage back that reaches it (kind `{}`) and run again",
                leftovers.len(),
                run.name(),
                place.kind,
            ));
            continue;
        }
        for batch in leftovers.chunks(1000) {
            let ids: Vec<String> = batch.iter().map(|leftover| leftover.id.clone()).collect();
            delete(run, &mut stores, place, &ids).await?;
            let done = batch.to_vec();
            run.ledger(move |ledger, _| ledger.close_leftovers(&done)).await?;
        }
    }
    Ok(())
}

async fn delete(run: &Arc<ProjectRun>, stores: &mut Stores, place: i64, ids: &[String]) -> StageResult<()> {
    let Some((store, namespace)) = stores.of(run, place).await? else {
        return Err(StageError::local("engine", "a place went out of reach"));
    };
    for batch in ids.chunks(store.limits().ids_per_delete.max(1)) {
        store.delete(namespace, batch).await?;
        run.stats.count(|counts| counts.vectors_deleted += batch.len() as u64);
    }
    Ok(())
}

type Reached = Option<(Arc<dyn VectorStore>, String)>;

/// The stores that reach places, asked once for each.
#[derive(Default)]
struct Stores {
    known: HashMap<i64, Reached>,
}

impl Stores {
    async fn of(
        &mut self,
        run: &Arc<ProjectRun>,
        place: i64,
    ) -> StageResult<Option<(&Arc<dyn VectorStore>, &str)>> {
        let reached = match self.known.entry(place) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let reached = if place == run.place_id {
                    Some((Arc::clone(&run.project.store), run.place.namespace.clone()))
                } else {
                    let place = run.ledger(move |ledger, _| ledger.place(place)).await?;
                    run.engine.store_of(&place).await.map(|store| (store, place.namespace))
                };
                unknown.insert(reached)
            }
        };
        Ok(reached.as_ref().map(|(store, namespace)| (store, namespace.as_str())))
    }
}
