//! The store: records in memory, checked for invariants.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use reposync::model::{Match, Place, Record, StageResult};
use reposync::store::{IdPage, MemoryStore, Query, StoreDescription, StoreLimits, StoredRecord, VectorStore};

use super::{Lab, On};

pub(crate) struct LabStore {
    lab: Lab,
    inner: MemoryStore,
}

impl LabStore {
    pub(crate) fn new(lab: Lab) -> Self {
        Self { lab, inner: MemoryStore::new("store") }
    }

    async fn write(
        &self,
        on: On,
        work: impl AsyncFnOnce(&MemoryStore) -> StageResult<()>,
        change: impl FnOnce(&mut BTreeMap<String, BTreeSet<String>>),
    ) -> StageResult<()> {
        let call = async || {
            work(&self.inner).await?;
            self.lab.lock().change(&format!("{on:?}"), change);
            Ok(())
        };
        self.lab.call(on, "store", call).await
    }
}

#[async_trait]
impl VectorStore for LabStore {
    fn stage(&self) -> &'static str {
        "store"
    }

    /// Small, so that a few files take several calls.
    fn limits(&self) -> StoreLimits {
        StoreLimits { records_per_upsert: 4, ids_per_delete: 3, ..self.inner.limits() }
    }

    async fn check(&self, dimensions: usize) -> StageResult<()> {
        self.inner.check(dimensions).await
    }

    async fn place(&self, namespace: &str) -> StageResult<Place> {
        self.inner.place(namespace).await
    }

    async fn upsert(&self, namespace: &str, records: &[Record]) -> StageResult<()> {
        let ids: Vec<String> = records.iter().map(|record| record.id.clone()).collect();
        let work = async |store: &MemoryStore| store.upsert(namespace, records).await;
        let name = namespace.to_owned();
        self.write(On::Upsert, work, move |held| held.entry(name).or_default().extend(ids)).await
    }

    async fn delete(&self, namespace: &str, ids: &[String]) -> StageResult<()> {
        let work = async |store: &MemoryStore| store.delete(namespace, ids).await;
        let change = |held: &mut BTreeMap<String, BTreeSet<String>>| {
            held.entry(namespace.to_owned()).or_default().retain(|id| !ids.contains(id));
        };
        self.write(On::Delete, work, change).await
    }

    async fn list(&self, namespace: &str, prefix: &str, after: Option<String>) -> StageResult<IdPage> {
        self.inner.list(namespace, prefix, after).await
    }

    async fn fetch(&self, namespace: &str, ids: &[String]) -> StageResult<Vec<StoredRecord>> {
        self.inner.fetch(namespace, ids).await
    }

    async fn query(&self, namespace: &str, query: &Query) -> StageResult<Vec<Match>> {
        self.inner.query(namespace, query).await
    }

    async fn describe(&self) -> StageResult<StoreDescription> {
        self.inner.describe().await
    }
}
