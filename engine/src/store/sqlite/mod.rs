//! The embedded store: one SQLite file with vectors, metadata and a full-text index.
//!
//! Nearest neighbours are exact: a query compares every vector of its namespaces, or their 8-bit codes
//! where there are many. Blocking work runs on tokio's blocking threads.

mod candidates;
mod codes;
mod config;
mod database;
mod failed;
mod files;
mod lexical;
mod namespaces;
mod parallel;
mod read;
mod scan;
mod schema;
mod settings;
mod texts;
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

use crate::blocking::BlockingPool;
use crate::model::{ErrorKind, Match, Place, Record, StageError, StageResult};

use crate::rank::{Candidates, Weights};

use super::{
    Filter, IdPage, Query, Search, SearchScope, Selection, StoreDescription, StoreLimits, StoredRecord,
    TextVisitor, VectorStore,
};
use codes::Large;
use database::Database;
use failed::Failed;

/// A vector store in a local file.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    database: Arc<Database>,
    weights: Weights,
}

impl SqliteStore {
    /// A store in the file at `path`, which is opened or created (with its folder) on first use.
    pub fn open(stage: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self::open_with(stage.into(), path.into(), Large::default())
    }

    fn open_with(stage: String, path: PathBuf, large: Large) -> Self {
        // A place needs an absolute path that is the same before and after the file exists.
        let path = std::path::absolute(&path).unwrap_or(path);
        Self { database: Database::new(stage, path, large), weights: Weights::default() }
    }

    /// Sets how much the terms by vectors and by words count. Zero leaves them out.
    #[must_use]
    pub fn weigh(mut self, vectors: f64, words: f64) -> Self {
        self.weights = Weights { vectors, words, ..self.weights };
        self
    }

    /// Sets whether tests and files of low value score less.
    #[must_use]
    pub fn with_penalties(mut self, penalties: bool) -> Self {
        self.weights.penalties = penalties;
        self
    }

    async fn write(
        &self,
        work: impl FnOnce(&Database, &Transaction<'_>) -> Result<(), Failed> + Send + 'static,
    ) -> StageResult<()> {
        let database = Arc::clone(&self.database);
        let pool = &self.database.writes;
        self.blocking(pool, move || database.write(|transaction| work(&database, transaction))).await
    }

    async fn read<T: Default + Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Failed> + Send + 'static,
    ) -> StageResult<T> {
        let database = Arc::clone(&self.database);
        let pool = &self.database.reads;
        self.blocking(pool, move || Ok(database.read(work)?.unwrap_or_default())).await
    }

    async fn read_any<T: Default + Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>, Option<&str>) -> Result<T, Failed> + Send + 'static,
    ) -> StageResult<T> {
        let database = Arc::clone(&self.database);
        let pool = &self.database.reads;
        self.blocking(pool, move || Ok(database.read_any(work)?.unwrap_or_default())).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        pool: &BlockingPool,
        work: impl FnOnce() -> StageResult<T> + Send + 'static,
    ) -> StageResult<T> {
        pool.run(work).await.unwrap_or_else(|error| {
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
            // Half of what a project alone has in flight, with vectors of 256 components: each transaction changes
            // pages of indexes and adds a segment to the words, so a larger one writes less for each record.
            records_per_upsert: 1500,
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
        self.write(move |database, transaction| write::delete(database, transaction, &namespace, &ids)).await
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
        let filter = Filter::of(self.stage(), query.filter.as_ref())?;
        let (namespace, query) = (namespace.to_owned(), query.clone());
        let database = Arc::clone(&self.database);
        self.read_any(move |transaction, outdated| {
            candidates::query(&database, transaction, &namespace, &query, &filter, outdated.is_none())
        })
        .await
    }

    async fn search(&self, search: &Search) -> StageResult<Candidates> {
        let filter = Filter::of(self.stage(), search.filter.as_ref())?;
        let selector = search.selection.selector(self.stage())?;
        let (search, database) = (search.clone(), Arc::clone(&self.database));
        self.read_any(move |transaction, outdated| {
            candidates::search(&database, transaction, &search, &selector, &filter, outdated)
        })
        .await
    }

    fn weights(&self) -> Weights {
        self.weights
    }

    async fn texts(
        &self,
        scopes: &[SearchScope],
        selection: &Selection,
        visit: TextVisitor,
    ) -> StageResult<bool> {
        let selector = selection.selector(self.stage())?;
        let scopes = scopes.to_vec();
        let stage = self.stage().to_owned();
        self.read_any(move |transaction, outdated| match outdated {
            None => texts::texts(transaction, &scopes, &selector, visit),
            Some(why) => Err(failed_upgrade(&stage, why)),
        })
        .await?;
        Ok(true)
    }

    async fn describe(&self) -> StageResult<StoreDescription> {
        let (dimension, namespaces) = self
            .read(|transaction| Ok((write::stored_dimension(transaction)?, read::counts(transaction)?)))
            .await?;
        Ok(StoreDescription { kind: "sqlite".into(), dimension, namespaces })
    }
}

/// An index of an older version has no list of files.
fn failed_upgrade(stage: &str, why: &str) -> Failed {
    let message = format!("the index has an older format and could not be upgraded: {why}");
    StageError::misconfigured(stage, message)
        .hint("run `reposync apply` where the file can be written")
        .into()
}
