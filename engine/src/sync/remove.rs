//! Removes what leaves the index: files that are not wanted any more, and vectors in places that their files
//! have left.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::project_run::ProjectRun;
use crate::model::{Event, Place, StageError, StageResult};
use crate::plan::Removal;
use crate::state::{Damaged, FileKey, IdsOf, Leftover, PlacedIds};
use crate::store::VectorStore;

/// Deletes the vectors of files, wherever they are, then forgets the files.
pub(crate) async fn remove_files(run: &Arc<ProjectRun>, files: Vec<Removal>) -> StageResult<()> {
    let mut stores = Stores::default();
    // Enough files that their ids fill one or two calls of any store.
    for batch in files.chunks(200) {
        run.check_stopped()?;
        let keys: Vec<FileKey> = batch.iter().map(key).collect();
        // A file that is wanted again after a kill in the middle of this is not whole.
        run.state.mark_damaged(run.fence()?, run.name(), Damaged::Files(keys.clone())).await?;
        let mut by_place: BTreeMap<Arc<Place>, Vec<String>> = BTreeMap::new();
        let mut left = Vec::new();
        for ids in run.state.ids(run.name(), IdsOf::Files(keys.clone())).await? {
            if stores.of(run, &ids.place).await.is_some() {
                by_place.entry(ids.place).or_default().extend(ids.ids);
            } else {
                left.push(ids);
            }
        }
        for (place, ids) in by_place {
            delete(run, &mut stores, &place, &ids).await?;
        }
        run.state.remove_files(run.fence()?, run.name(), keys, left).await?;
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

fn key(file: &Removal) -> FileKey {
    FileKey::new(&file.repository, &file.path)
}

/// What [`remove_files`] and [`clean_leftovers`] would delete: the ids of the files, and those that
/// earlier runs left behind.
pub(crate) async fn preview_deletions(
    run: &Arc<ProjectRun>,
    removed: &[Removal],
) -> StageResult<(Vec<Leftover>, Vec<Leftover>)> {
    let removed = run.state.ids(run.name(), IdsOf::Files(removed.iter().map(key).collect())).await?;
    let leftovers = run.state.ids(run.name(), IdsOf::Leftovers).await?;
    let each = |ids: Vec<PlacedIds>| ids.into_iter().flat_map(PlacedIds::each).collect();
    Ok((each(removed), each(leftovers)))
}

/// Those of the places that a store of the file reaches.
pub(crate) async fn reached(
    run: &Arc<ProjectRun>,
    places: BTreeSet<Arc<Place>>,
) -> StageResult<HashSet<Arc<Place>>> {
    let mut stores = Stores::default();
    let mut reached = HashSet::new();
    for place in places {
        if stores.of(run, &place).await.is_some() {
            reached.insert(place);
        }
    }
    Ok(reached)
}

/// Deletes what moved files left behind in other places; reports places that nothing reaches.
pub(crate) async fn clean_leftovers(run: &Arc<ProjectRun>) -> StageResult<()> {
    let leftovers = run.state.ids(run.name(), IdsOf::Leftovers).await?;
    let mut by_place: BTreeMap<Arc<Place>, Vec<String>> = BTreeMap::new();
    for leftover in leftovers {
        by_place.entry(leftover.place).or_default().extend(leftover.ids);
    }
    let mut stores = Stores::default();
    for (place, ids) in by_place {
        run.check_stopped()?;
        if stores.of(run, &place).await.is_none() {
            run.note(format!(
                "orphan place {place}: no stage of the file reaches it any more; {} vectors of `{}` are left there. \
                 To clean it, put a stage back that reaches it (kind `{}`) and run again",
                ids.len(),
                run.name(),
                place.kind,
            ));
            continue;
        }
        for batch in ids.chunks(1000) {
            delete(run, &mut stores, &place, batch).await?;
            run.state.close_leftovers(run.fence()?, run.name(), &place, batch.to_vec()).await?;
        }
    }
    Ok(())
}

async fn delete(
    run: &Arc<ProjectRun>,
    stores: &mut Stores,
    place: &Arc<Place>,
    ids: &[String],
) -> StageResult<()> {
    let Some((store, namespace)) = stores.of(run, place).await else {
        return Err(StageError::local("engine", "a place went out of reach"));
    };
    for batch in ids.chunks(store.limits().ids_per_delete.max(1)) {
        run.while_held(store.delete(namespace, batch)).await?;
        run.stats.count(|counts| counts.vectors_deleted += batch.len() as u64);
    }
    Ok(())
}

/// The stores that reach places, asked once for each.
#[derive(Default)]
struct Stores {
    known: HashMap<Arc<Place>, Option<Arc<dyn VectorStore>>>,
}

impl Stores {
    /// The store that reaches a place, and the place's namespace.
    async fn of<'a>(
        &mut self,
        run: &Arc<ProjectRun>,
        place: &'a Arc<Place>,
    ) -> Option<(Arc<dyn VectorStore>, &'a str)> {
        let reached = match self.known.entry(Arc::clone(place)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let reached = if **place == run.place {
                    Some(Arc::clone(&run.project.store))
                } else {
                    run.engine.store_of(place).await
                };
                unknown.insert(reached)
            }
        };
        reached.clone().map(|store| (store, place.namespace.as_str()))
    }
}
