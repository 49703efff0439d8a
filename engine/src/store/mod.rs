//! Where vectors live. A store writes, deletes by id, lists, fetches and queries records in
//! namespaces; it knows nothing of files or plans.

mod filter;
mod memory;
mod pinecone;
mod settings;
mod sqlite;

use async_trait::async_trait;

use crate::model::{Match, Place, Record, StageResult, Vector};

pub use filter::Filter;
pub use memory::MemoryStore;
pub use pinecone::PineconeStore;
#[cfg(any(test, fuzzing))]
pub use pinecone::fuzz as fuzz_pinecone;
pub use settings::{CreateIndex, Metric, PineconeSettings, SqliteSettings};
pub use sqlite::SqliteStore;

/// How much a store takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreLimits {
    /// Records in an upsert.
    pub records_per_upsert: usize,
    /// Bytes of an encoded upsert. The store splits by bytes itself where it must.
    pub bytes_per_upsert: usize,
    /// Ids in a delete.
    pub ids_per_delete: usize,
    /// Bytes of one record's metadata as JSON. A chunk that would not fit is split before.
    pub metadata_bytes: usize,
    /// Calls at once.
    pub calls: usize,
}

/// A page of ids.
#[derive(Debug, Clone, Default)]
pub struct IdPage {
    /// The ids.
    pub ids: Vec<String>,
    /// Where the next page begins; none at the end.
    pub next: Option<String>,
}

/// A record as it was stored: its vector and whatever metadata it has.
#[derive(Debug, Clone)]
pub struct StoredRecord {
    /// The id.
    pub id: String,
    /// The embedding.
    pub vector: Vector,
    /// The metadata; foreign records may hold anything.
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

/// What to look for.
#[derive(Debug, Clone)]
pub struct Query {
    /// The query's vector.
    pub vector: Vector,
    /// The query's words, for stores that can search them; none: vectors alone.
    pub text: Option<String>,
    /// How many matches.
    pub top_k: usize,
    /// A metadata filter in Pinecone's language (`$eq`, `$ne`, `$in`, `$nin`, `$gt`, `$gte`,
    /// `$lt`, `$lte`, `$and`, `$or`; top-level keys are ANDed); none: everything.
    pub filter: Option<serde_json::Value>,
}

/// What a store says of itself.
#[derive(Debug, Clone, serde::Serialize)]
pub struct StoreDescription {
    /// The kind.
    pub kind: String,
    /// Components of a vector; none while the store is empty and not bound to any.
    pub dimension: Option<usize>,
    /// Records in each namespace. Remote counts lag.
    pub namespaces: std::collections::BTreeMap<String, u64>,
}

/// Holds vectors.
///
/// `upsert` replaces whole records and `delete` ignores unknown ids, so both may be repeated. A
/// call that returned `Ok` is durable. Reads may lag behind writes. A namespace that does not
/// exist is an empty one. All calls may run at once.
#[async_trait]
pub trait VectorStore: Send + Sync {
    /// The stage's name in the file.
    fn stage(&self) -> &str;

    /// What a call may hold.
    fn limits(&self) -> StoreLimits;

    /// Checks, before any cost, that the store is there and takes vectors of this many
    /// components; creates it where the configuration says so. A mismatch is `Misconfigured`.
    async fn check(&self, dimensions: usize) -> StageResult<()>;

    /// The same without creating anything, for a plan. False: there is nothing yet, `check` would
    /// create it.
    async fn peek(&self, dimensions: usize) -> StageResult<bool> {
        self.check(dimensions).await.map(|()| true)
    }

    /// The place of a namespace. Known without asking the service only where the configuration
    /// names it; may ask once.
    async fn place(&self, namespace: &str) -> StageResult<Place>;

    /// Writes records, replacing those of the same id.
    async fn upsert(&self, namespace: &str, records: &[Record]) -> StageResult<()>;

    /// Deletes by id, never by filter.
    async fn delete(&self, namespace: &str, ids: &[String]) -> StageResult<()>;

    /// Ids that start with `prefix`, sorted, page by page.
    async fn list(&self, namespace: &str, prefix: &str, after: Option<String>) -> StageResult<IdPage>;

    /// The records of these ids; missing ones are absent from the answer.
    async fn fetch(&self, namespace: &str, ids: &[String]) -> StageResult<Vec<StoredRecord>>;

    /// The nearest records, best first.
    async fn query(&self, namespace: &str, query: &Query) -> StageResult<Vec<Match>>;

    /// Dimension and counts.
    async fn describe(&self) -> StageResult<StoreDescription>;
}
