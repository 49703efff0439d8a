//! An in-memory store for tests: the plainest implementation of [`VectorStore`].

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};

use crate::model::{Match, Place, Record, StageError, StageResult};

use super::{Filter, IdPage, Query, StoreDescription, StoreLimits, StoredRecord, VectorStore};

/// Ids per page of a listing; few, so that tests get several pages.
const PAGE: usize = 100;

/// A vector store in memory.
#[derive(Debug)]
pub struct MemoryStore {
    stage: String,
    namespaces: Mutex<HashMap<String, BTreeMap<String, StoredRecord>>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(stage: impl Into<String>) -> Self {
        Self { stage: stage.into(), namespaces: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, BTreeMap<String, StoredRecord>>> {
        self.namespaces.lock()
    }

    fn check_length(&self, length: usize) -> StageResult<()> {
        let stored = self.lock().values().flat_map(BTreeMap::values).next().map(|record| record.vector.len());
        match stored {
            Some(stored) if stored != length => Err(StageError::misconfigured(
                &self.stage,
                format!("the store holds vectors of {stored} components, not {length}"),
            )),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl VectorStore for MemoryStore {
    fn stage(&self) -> &str {
        &self.stage
    }

    fn limits(&self) -> StoreLimits {
        StoreLimits {
            records_per_upsert: 100,
            bytes_per_upsert: 1 << 20,
            ids_per_delete: 100,
            metadata_bytes: 38 << 10,
            calls: 4,
        }
    }

    async fn check(&self, dimensions: usize) -> StageResult<()> {
        self.check_length(dimensions)
    }

    async fn place(&self, namespace: &str) -> StageResult<Place> {
        Ok(Place {
            kind: "memory".into(),
            host: self.stage.clone(),
            index: String::new(),
            namespace: namespace.to_owned(),
        })
    }

    async fn upsert(&self, namespace: &str, records: &[Record]) -> StageResult<()> {
        for record in records {
            self.check_length(record.vector.len())?;
        }
        let mut namespaces = self.lock();
        let held = namespaces.entry(namespace.to_owned()).or_default();
        for Record { id, vector, metadata } in records {
            let stored =
                StoredRecord { id: id.clone(), vector: vector.clone(), metadata: metadata.to_json() };
            held.insert(id.clone(), stored);
        }
        Ok(())
    }

    async fn delete(&self, namespace: &str, ids: &[String]) -> StageResult<()> {
        if let Some(held) = self.lock().get_mut(namespace) {
            for id in ids {
                held.remove(id);
            }
        }
        Ok(())
    }

    async fn list(&self, namespace: &str, prefix: &str, after: Option<String>) -> StageResult<IdPage> {
        let namespaces = self.lock();
        let mut ids: Vec<String> = namespaces
            .get(namespace)
            .into_iter()
            .flat_map(BTreeMap::keys)
            .filter(|id| id.starts_with(prefix) && after.as_ref().is_none_or(|after| *id > after))
            .take(PAGE + 1)
            .cloned()
            .collect();
        let more = ids.len() > PAGE;
        ids.truncate(PAGE);
        let next = if more { ids.last().cloned() } else { None };
        Ok(IdPage { ids, next })
    }

    async fn fetch(&self, namespace: &str, ids: &[String]) -> StageResult<Vec<StoredRecord>> {
        let namespaces = self.lock();
        let held = namespaces.get(namespace);
        Ok(ids.iter().filter_map(|id| held?.get(id)).cloned().collect())
    }

    async fn query(&self, namespace: &str, query: &Query) -> StageResult<Vec<Match>> {
        let filter = Filter::of(&self.stage, query.filter.as_ref())?;
        self.check_length(query.vector.len())?;
        let namespaces = self.lock();
        let mut matches: Vec<Match> = namespaces
            .get(namespace)
            .into_iter()
            .flat_map(BTreeMap::values)
            .filter(|record| filter.matches(&record.metadata))
            .map(|record| Match {
                id: record.id.clone(),
                score: cosine(&record.vector, &query.vector),
                metadata: record.metadata.clone(),
            })
            .collect();
        matches.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
        matches.truncate(query.top_k);
        Ok(matches)
    }

    async fn describe(&self) -> StageResult<StoreDescription> {
        let namespaces = self.lock();
        let full = || namespaces.iter().filter(|(_, held)| !held.is_empty());
        Ok(StoreDescription {
            kind: "memory".into(),
            dimension: full().flat_map(|(_, held)| held.values()).next().map(|record| record.vector.len()),
            namespaces: full().map(|(name, held)| (name.clone(), held.len() as u64)).collect(),
        })
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let product =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    product(a, b) / (product(a, a) * product(b, b)).sqrt()
}
