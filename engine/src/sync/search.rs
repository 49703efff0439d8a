//! Searching what is indexed.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::parts::ProjectSearch;
use crate::model::{Match, StageResult, Vector};
use crate::store::Query;

/// The `top_k` nearest chunks of these projects, best first.
///
/// Each project answers for itself: others may share its namespace. Answers of several projects
/// are merged by their rank, since scores of different stores and models cannot be compared.
pub async fn search(
    projects: &[ProjectSearch],
    text: &str,
    top_k: usize,
    filter: Option<&Value>,
) -> StageResult<Vec<Match>> {
    let mut vectors: HashMap<String, Vector> = HashMap::new();
    let mut ranked: Vec<(usize, Match)> = Vec::new();
    for project in projects {
        let ProjectSearch { place, embedder } = project;
        let identity = embedder.identity().to_string();
        let vector = if let Some(vector) = vectors.get(&identity) {
            Arc::clone(vector)
        } else {
            let vector = embedder.embed_one(text).await?;
            vectors.insert(identity, Arc::clone(&vector));
            vector
        };
        let own = json!({ "project": { "$eq": place.project } });
        let filter = match filter {
            Some(filter) => json!({ "$and": [own, filter] }),
            None => own,
        };
        let query = Query { vector, text: Some(text.to_owned()), top_k, filter: Some(filter) };
        let matches = place.store.query(&place.namespace, &query).await?;
        ranked.extend(matches.into_iter().enumerate());
    }
    if projects.len() > 1 {
        ranked.sort_by_key(|(rank, _)| *rank);
    }
    Ok(ranked.into_iter().map(|(_, found)| found).take(top_k).collect())
}
