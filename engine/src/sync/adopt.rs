//! Taking in what a place holds before the first write to it: a lost ledger costs a listing, not a
//! bill.

use std::sync::Arc;

use chrono::Utc;
use serde_json::{Map, Value};

use super::prepare::stored_fingerprint;
use super::project_run::ProjectRun;
use crate::model::{StageResult, Vector};
use crate::state::{AdoptedRecord, ProjectState};
use crate::store::StoredRecord;

/// Ids in a fetch: what the smallest store takes by URL.
const FETCH: usize = 100;

/// Adopts the project's place, unless the state knows it already; returns how the project stands.
pub(crate) async fn adopt(run: &Arc<ProjectRun>) -> StageResult<ProjectState> {
    let state = run.project_state().await?;
    if state.adopted || run.dry && !(run.is_scratch() && run.store_exists) {
        return Ok(state);
    }
    let store = &run.project.store;
    let namespace = run.place.namespace.as_str();
    let mut found = Vec::new();
    let mut foreign = 0u64;
    let mut after = None;
    loop {
        let page = store.list(namespace, "", after).await?;
        for ids in page.ids.chunks(FETCH) {
            run.check_stopped()?;
            run.moved();
            let mut vectors = Vec::new();
            for record in store.fetch(namespace, ids).await? {
                match own(run, record) {
                    Some((adopted, vector)) => {
                        found.push(adopted);
                        vectors.extend(vector);
                    }
                    None => foreign += 1,
                }
            }
            run.project.queue.remember(vectors).await;
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if !found.is_empty() {
        run.note(format!(
            "took in {} vectors that {} held already{}",
            found.len(),
            run.place,
            if foreign > 0 { format!("; {foreign} of others are left alone") } else { String::new() },
        ));
    }
    run.state.adopt(run.fence()?, run.name(), &run.place, found, Utc::now()).await?;
    run.project_state().await
}

type Remembered = (String, Vector);

/// A record of this project: what the ledger keeps of it, and, where its recipe is the present
/// one, its vector for the cache.
fn own(run: &ProjectRun, record: StoredRecord) -> Option<(AdoptedRecord, Option<Remembered>)> {
    let StoredRecord { id, vector, metadata } = record;
    let text = |key: &str| metadata.get(key).and_then(Value::as_str);
    if text("project")? != run.name() {
        return None;
    }
    let (repository, path) = (text("repository")?.to_owned(), text("file_path")?.to_owned());
    let fingerprint = stored_fingerprint(&metadata);
    let remembered = same_recipe(run, &path, &metadata).then(|| {
        let input = run.project.embedder().input(text("context"), text("text").unwrap_or_default());
        (input, vector)
    });
    Some((AdoptedRecord { id, repository, path, fingerprint }, remembered))
}

fn same_recipe(run: &ProjectRun, path: &str, metadata: &Map<String, Value>) -> bool {
    let recipe = metadata.get("recipe").and_then(Value::as_str);
    run.recipes.of(path).is_some_and(|own| Some(own.fingerprint.as_str()) == recipe)
}
