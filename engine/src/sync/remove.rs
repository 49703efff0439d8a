//! Removes what leaves the index: files that are not wanted any more, and vectors in places that their files
//! have left.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::project_run::ProjectRun;
use crate::model::{Event, StageError, StageResult};
use crate::plan::Removal;
use crate::state::{FileKey, Leftover, ProjectKey, SqliteState};
use crate::store::VectorStore;

/// Deletes the vectors of files, wherever they are, then forgets the files.
pub(crate) async fn remove_files(run: &Arc<ProjectRun>, files: Vec<Removal>) -> StageResult<()> {
    let mut stores = Stores::default();
    // Enough files that their ids fill one or two calls of any store.
    for batch in files.chunks(200) {
        run.check_stopped()?;
        let keys: Vec<(String, String)> =
            batch.iter().map(|file| (file.repository.clone(), file.path.clone())).collect();
        let asked = keys.clone();
        let ids = run
            .ledger(move |ledger, project| {
                // A file that is wanted again after a kill in the middle of this is not whole.
                ledger.mark_damaged(project.0, &asked)?;
                ids_of(ledger, project, asked)
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

/// Every id of these files, in whatever place, each with repository and path.
fn ids_of(
    ledger: &SqliteState,
    project: ProjectKey<'_>,
    files: Vec<(String, String)>,
) -> StageResult<Vec<(Leftover, String, String)>> {
    let mut ids = Vec::new();
    for (repository, path) in files {
        for id in ledger.all_ids(project, &FileKey { repository: &repository, path: &path })? {
            ids.push((id, repository.clone(), path.clone()));
        }
    }
    Ok(ids)
}

/// What [`remove_files`] and [`clean_leftovers`] would delete: the ids of the files, and those that
/// earlier runs left behind.
pub(crate) async fn preview_deletions(
    run: &Arc<ProjectRun>,
    removed: &[Removal],
) -> StageResult<(Vec<Leftover>, Vec<Leftover>)> {
    let keys: Vec<(String, String)> =
        removed.iter().map(|file| (file.repository.clone(), file.path.clone())).collect();
    run.ledger(move |ledger, project| {
        let removed = ids_of(ledger, project, keys)?.into_iter().map(|(id, ..)| id).collect();
        Ok((removed, ledger.leftovers(project.1)?))
    })
    .await
}

/// Those of the places that a store of the file reaches.
pub(crate) async fn reached(
    run: &Arc<ProjectRun>,
    places: impl IntoIterator<Item = i64>,
) -> StageResult<HashSet<i64>> {
    let mut stores = Stores::default();
    let mut reached = HashSet::new();
    for place in places.into_iter().collect::<BTreeSet<i64>>() {
        if stores.of(run, place).await?.is_some() {
            reached.insert(place);
        }
    }
    Ok(reached)
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
