//! Vector stores. A store writes, deletes by id, lists, fetches and queries records in namespaces;
//! it does not know files or plans.

mod config;
mod filter;
mod memory;
pub mod pgvector;
pub mod pinecone;
mod ranking;
mod searched;
mod selection;
pub mod sqlite;
mod texts;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::model::{ErrorKind, Match, Place, Record, StageError, StageResult, Vector};
use crate::rank::{Candidate, Candidates, Scale, Weights, Words};

pub use config::StoreConfig;
pub use filter::Filter;
pub use memory::MemoryStore;
pub use selection::{Facet, Selection, Selector};
pub use texts::{FileTexts, TextChunk, TextVisitor};

/// Limits of a store's calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreLimits {
    /// Maximum number of records per upsert.
    pub records_per_upsert: usize,
    /// Maximum size of an encoded upsert in bytes. A store that can exceed it splits the call
    /// itself.
    pub bytes_per_upsert: usize,
    /// Maximum number of ids per delete.
    pub ids_per_delete: usize,
    /// Maximum size of a record's metadata as JSON in bytes. Larger chunks are split before they
    /// are embedded.
    pub metadata_bytes: usize,
    /// Maximum number of concurrent calls.
    pub calls: usize,
}

/// A page of ids.
#[derive(Debug, Clone, Default)]
pub struct IdPage {
    /// The ids.
    pub ids: Vec<String>,
    /// The `after` of the next page; `None` on the last page.
    pub next: Option<String>,
}

/// A record as read back from the store.
#[derive(Debug, Clone)]
pub struct StoredRecord {
    /// The id.
    pub id: String,
    /// The embedding.
    pub vector: Vector,
    /// The metadata; foreign records may have any fields.
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

/// A similarity query.
#[derive(Debug, Clone)]
pub struct Query {
    /// The query's vector.
    pub vector: Vector,
    /// Maximum number of matches.
    pub top_k: usize,
    /// A metadata filter in Pinecone's syntax (`$eq`, `$ne`, `$in`, `$nin`, `$gt`, `$gte`, `$lt`,
    /// `$lte`, `$exists`, `$and`, `$or`; top-level keys are ANDed). `None`: no filter.
    pub filter: Option<serde_json::Value>,
}

/// The records of one project in one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchScope {
    /// The namespace.
    pub namespace: String,
    /// The project; other projects may share the namespace.
    pub project: String,
}

/// A search for candidates over one or several namespaces.
#[derive(Debug, Clone)]
pub struct Search {
    /// What is searched.
    pub scopes: Vec<SearchScope>,
    /// The query's vector; `None` or a zero vector: by words alone.
    pub vector: Option<Vector>,
    /// The query's words; `None`: by vector alone.
    pub words: Option<Arc<Words>>,
    /// Filters.
    pub selection: Selection,
    /// A filter in Pinecone's syntax, as in [`Query`].
    pub filter: Option<Value>,
    /// A symbol whose definitions are candidates whatever their similarity.
    pub symbol: Option<String>,
    /// How many of the nearest, and how many of the best by words, are candidates.
    pub depth: usize,
}

/// A store's dimension and contents.
#[derive(Debug, Clone, serde::Serialize)]
pub struct StoreDescription {
    /// The kind.
    pub kind: String,
    /// Components per vector; `None` while the store is empty and not bound to a dimension.
    pub dimension: Option<usize>,
    /// Number of records by namespace. Counts of remote stores may be stale.
    pub namespaces: std::collections::BTreeMap<String, u64>,
}

/// A vector store.
///
/// `upsert` replaces whole records and `delete` ignores unknown ids, so both are idempotent. A
/// write is durable once its call returned `Ok`. Reads may be stale. A namespace that does not
/// exist reads as empty. Calls may run concurrently.
#[async_trait]
pub trait VectorStore: Send + Sync {
    /// The stage's name in the configuration.
    fn stage(&self) -> &str;

    /// The limits of calls.
    fn limits(&self) -> StoreLimits;

    /// Checks, before anything is paid for, that the store exists and accepts vectors with this
    /// many components. Creates it if the configuration says so. A mismatch is `Misconfigured`.
    async fn check(&self, dimensions: usize) -> StageResult<()>;

    /// Like `check`, but creates nothing, for plans. False: the store does not exist yet, and
    /// `check` would create it.
    async fn peek(&self, dimensions: usize) -> StageResult<bool> {
        self.check(dimensions).await.map(|()| true)
    }

    /// The place of a namespace. May call the service once, unless the configuration has all parts.
    async fn place(&self, namespace: &str) -> StageResult<Place>;

    /// Writes records, replacing those of the same id.
    async fn upsert(&self, namespace: &str, records: &[Record]) -> StageResult<()>;

    /// Deletes by id, never by filter.
    async fn delete(&self, namespace: &str, ids: &[String]) -> StageResult<()>;

    /// One page of the ids that start with `prefix`, sorted.
    async fn list(&self, namespace: &str, prefix: &str, after: Option<String>) -> StageResult<IdPage>;

    /// The records with these ids; unknown ids are left out.
    async fn fetch(&self, namespace: &str, ids: &[String]) -> StageResult<Vec<StoredRecord>>;

    /// The nearest records, best first.
    async fn query(&self, namespace: &str, query: &Query) -> StageResult<Vec<Match>>;

    /// Candidates for a ranking, over several namespaces on one scale. A store without full-text
    /// search gives the nearest and says in a note that words are not searched.
    async fn search(&self, search: &Search) -> StageResult<Candidates> {
        search_by_vector(self, search).await
    }

    /// How much the terms of a ranking count, by the stage's settings.
    fn weights(&self) -> Weights {
        Weights::default()
    }

    /// Passes the texts of the files that pass the filters by repository and path to `visit`, until it breaks.
    /// False: this store does not hold texts where they can be read in bulk, and nothing was passed.
    async fn texts(
        &self,
        _scopes: &[SearchScope],
        _selection: &Selection,
        _visit: TextVisitor,
    ) -> StageResult<bool> {
        Ok(false)
    }

    /// Dimension and counts.
    async fn describe(&self) -> StageResult<StoreDescription>;
}

/// [`VectorStore::search`] for stores that only rank by vector.
async fn search_by_vector<S: VectorStore + ?Sized>(store: &S, search: &Search) -> StageResult<Candidates> {
    const OVERFETCH: usize = 5;
    let Some(vector) = search.vector.as_ref().filter(|vector| vector.iter().any(|x| *x != 0.0)) else {
        let message = "this store searches by vector alone, and the query has no vector";
        return Err(StageError::new(store.stage(), ErrorKind::BadInput, message)
            .hint("use `--mode semantic` or `--mode hybrid`, or a store with full-text search"));
    };
    let selector = search.selection.selector(store.stage())?;
    let mut candidates = Candidates::default();
    for scope in &search.scopes {
        let mut parts = vec![json!({ "project": { "$eq": scope.project } })];
        parts.extend(search.selection.as_filter());
        parts.extend(search.filter.clone());
        // Globs are evaluated here, so that more than the wanted number must be asked for.
        let more = if search.selection.is_empty() { 1 } else { OVERFETCH };
        let query = Query {
            vector: Arc::clone(vector),
            top_k: search.depth.saturating_mul(more),
            filter: Some(json!({ "$and": parts })),
        };
        let matches = store.query(&scope.namespace, &query).await?;
        let passing = matches.into_iter().filter(|one| selector.passes(&one.metadata)).take(search.depth);
        candidates.list.extend(passing.map(|one| Candidate {
            id: one.id,
            metadata: one.metadata,
            cosine: Some(one.score),
            file_cosine: None,
            bm25: 0.0,
        }));
    }
    candidates.scale = Scale::default();
    candidates.notes.push(format!("`{}` searches by vector alone: words are not looked up", store.stage()));
    Ok(candidates)
}
