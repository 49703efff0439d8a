//! The embedded store: one SQLite file with vectors, metadata and a full-text index.
//!
//! Nearest neighbours are exact: a query compares every vector of its namespace, streamed from the
//! file. A query with a text is also ranked by words, and both rankings are fused. Blocking work
//! runs on tokio's blocking threads.

mod config;
mod database;
mod read;
mod search;
mod settings;
mod vector;
mod words;
mod write;

#[cfg(test)]
mod tests;

pub use settings::SqliteSettings;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::Transaction;

use crate::blocking::Lane;
use crate::model::{ErrorKind, Match, Place, Record, StageError, StageResult};

use super::{Filter, IdPage, Query, StoreDescription, StoreLimits, StoredRecord, VectorStore};
use database::{Database, Failed};
use search::Weights;

/// A vector store in a local file.
///
/// Scores are the cosine similarity (-1 to 1) for queries without a text, otherwise the fused rank,
/// which is 1 for a record that is first by vector and by words.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    database: Arc<Database>,
    weights: Weights,
}

impl SqliteStore {
    /// A store in the file at `path`, which is opened or created (with its folder) on first use.
    pub fn open(stage: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        // A place needs an absolute path that is the same before and after the file exists.
        let path = std::path::absolute(&path).unwrap_or(path);
        Self { database: Database::new(stage.into(), path), weights: Weights { vectors: 1.0, words: 1.0 } }
    }

    /// Sets the weights of the rankings by vector and by words for queries with a text. Zero leaves
    /// a ranking out.
    #[must_use]
    pub fn weigh(mut self, vectors: f64, words: f64) -> Self {
        self.weights = Weights { vectors, words };
        self
    }

    async fn write(
        &self,
        work: impl FnOnce(&Database, &Transaction<'_>) -> Result<(), Failed> + Send + 'static,
    ) -> StageResult<()> {
        let database = Arc::clone(&self.database);
        let lane = &self.database.writes;
        self.blocking(lane, move || database.write(|transaction| work(&database, transaction))).await
    }

    async fn read<T: Default + Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Failed> + Send + 'static,
    ) -> StageResult<T> {
        let database = Arc::clone(&self.database);
        let lane = &self.database.reads;
        self.blocking(lane, move || Ok(database.read(work)?.unwrap_or_default())).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        lane: &Lane,
        work: impl FnOnce() -> StageResult<T> + Send + 'static,
    ) -> StageResult<T> {
        lane.run(work).await.unwrap_or_else(|error| {
            Err(StageError::new(self.stage(), ErrorKind::Bug, "the store's task panicked").caused_by(error))
        })
    }
}

#[async_trait]
impl VectorStore for SqliteStore {
    fn stage(&self) -> &str {
        self.database.stage()
    }

    fn limits(&self) -> StoreLimits {
        StoreLimits {
            records_per_upsert: 1000,
            bytes_per_upsert: 16 << 20,
            ids_per_delete: 1000,
            metadata_bytes: 1 << 20,
            calls: 1, // SQLite has one writer
        }
    }

    async fn check(&self, dimensions: usize) -> StageResult<()> {
        self.write(move |database, transaction| write::check_dimension(database, transaction, dimensions))
            .await
    }

    async fn peek(&self, dimensions: usize) -> StageResult<bool> {
        let database = Arc::clone(&self.database);
        let exists = move |transaction: &Transaction<'_>| {
            write::check_dimension(&database, transaction, dimensions).map(|()| true)
        };
        self.read(exists).await
    }

    async fn place(&self, namespace: &str) -> StageResult<Place> {
        Ok(Place {
            kind: "sqlite".into(),
            host: self.database.path().to_string_lossy().into_owned(),
            index: String::new(),
            namespace: namespace.to_owned(),
        })
    }

    async fn upsert(&self, namespace: &str, records: &[Record]) -> StageResult<()> {
        let (namespace, records) = (namespace.to_owned(), records.to_vec());
        self.write(move |database, transaction| write::upsert(database, transaction, &namespace, &records))
            .await
    }

    async fn delete(&self, namespace: &str, ids: &[String]) -> StageResult<()> {
        let (namespace, ids) = (namespace.to_owned(), ids.to_vec());
        self.write(move |_, transaction| write::delete(transaction, &namespace, &ids)).await
    }

    async fn list(&self, namespace: &str, prefix: &str, after: Option<String>) -> StageResult<IdPage> {
        let (namespace, prefix) = (namespace.to_owned(), prefix.to_owned());
        self.read(move |transaction| read::list(transaction, &namespace, &prefix, after.as_deref())).await
    }

    async fn fetch(&self, namespace: &str, ids: &[String]) -> StageResult<Vec<StoredRecord>> {
        let (namespace, ids) = (namespace.to_owned(), ids.to_vec());
        self.read(move |transaction| read::fetch(transaction, &namespace, &ids)).await
    }

    async fn query(&self, namespace: &str, query: &Query) -> StageResult<Vec<Match>> {
        let filter = Filter::of(self.stage(), query)?;
        let (namespace, query, weights) = (namespace.to_owned(), query.clone(), self.weights);
        let database = Arc::clone(&self.database);
        self.read(move |transaction| {
            if query.vector.iter().any(|component| *component != 0.0) {
                write::check_dimension(&database, transaction, query.vector.len())?;
            }
            search::query(transaction, &namespace, &query, &filter, weights)
        })
        .await
    }

    async fn describe(&self) -> StageResult<StoreDescription> {
        let (dimension, namespaces) = self
            .read(|transaction| Ok((write::stored_dimension(transaction)?, read::counts(transaction)?)))
            .await?;
        Ok(StoreDescription { kind: "sqlite".into(), dimension, namespaces })
    }
}
