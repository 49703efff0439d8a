//! Vectors, metadata, texts and words in PostgreSQL with the extension pgvector.
//!
//! A namespace is a partition of three tables: records (metadata and texts), vectors and words. A record whose lines
//! moved is written to the first alone. Words are cut by our own code, and BM25 is computed on the server.
//!
//! Every statement is sent with the types of its parameters and belongs to one transaction, so that PgBouncer may
//! give each transaction another connection.

mod candidates;
mod condition;
mod config;
mod database;
mod documents;
mod names;
mod read;
mod schema;
mod settings;
mod sql;
mod tables;
mod totals;
mod words;
mod write;

pub use settings::{Index, PgvectorSettings};

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::model::{ErrorKind, EventSink, Match, Place, Record, StageError, StageResult, register_secrets};
use crate::net::Timeouts;
use crate::postgres::{Pool, failed};
use crate::rank::{Candidates, Weights};

use super::{
    Filter, IdPage, Query, Search, SearchScope, Selection, StoreDescription, StoreLimits, StoredRecord,
    TextVisitor, VectorStore,
};
use database::{Call, Database};
use names::Names;

/// A vector store in a PostgreSQL database.
#[derive(Debug)]
pub struct PgvectorStore {
    db: Database,
    host: String,
    table: String,
    calls: usize,
    weights: Weights,
}

impl PgvectorStore {
    /// A client of the database, which connects when the first call needs it. `concurrency`: maximum number of
    /// concurrent calls.
    pub fn new(
        stage: impl Into<String>,
        settings: &PgvectorSettings,
        concurrency: usize,
        cancel: CancellationToken,
        events: EventSink,
    ) -> StageResult<Self> {
        let stage = stage.into();
        let url =
            settings.address().map_err(|why| StageError::misconfigured(&stage, format!("`url`: {why}")))?;
        register_secrets(url.password());
        let host = url.location();
        let names = Names::parse(&settings.table)
            .ok_or_else(|| StageError::misconfigured(&stage, "`table` is not a name of a table"))?;
        let calls = concurrency.clamp(1, settings.pool.max(1));
        let pool = Pool::new(url.clone(), settings.pool.max(1))
            .map_err(|failure| failed(&stage, &url, "prepare connections", failure))?;
        let weights = Weights {
            vectors: settings.vector_weight,
            words: settings.text_weight,
            penalties: settings.penalties,
            ..Weights::default()
        };
        let db = Database::new(stage, pool, names, settings.index, cancel, events);
        Ok(Self { db, host, table: settings.table.clone(), calls, weights })
    }

    /// Replaces the default time-outs and retries.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.db.timeouts = timeouts;
        self
    }
}

fn call(operation: &'static str, what: &'static str, items: usize) -> Call {
    Call { operation, what, items }
}

#[async_trait]
impl VectorStore for PgvectorStore {
    fn stage(&self) -> &str {
        &self.db.stage
    }

    fn limits(&self) -> StoreLimits {
        StoreLimits {
            records_per_upsert: 500,
            bytes_per_upsert: 16 << 20,
            ids_per_delete: 1000,
            metadata_bytes: 1 << 20,
            calls: self.calls,
        }
    }

    async fn check(&self, dimensions: usize) -> StageResult<()> {
        let db = &self.db;
        let call = call("check", "create the tables of the store", 0);
        db.call_within(db.patience, call, || async move {
            schema::check_writable(db, dimensions).await?;
            let tables = schema::tables_for(db, dimensions).await?;
            schema::build_indexes(db, tables).await
        })
        .await
    }

    async fn peek(&self, dimensions: usize) -> StageResult<bool> {
        let db = &self.db;
        db.call(call("peek", "look for the tables of the store", 0), || async move {
            schema::check_writable(db, dimensions).await?;
            let Some(tables) = schema::tables(db).await? else { return Ok(false) };
            schema::fits(db, tables, dimensions)?;
            Ok(true)
        })
        .await
    }

    async fn place(&self, namespace: &str) -> StageResult<Place> {
        Ok(Place {
            kind: "pgvector".into(),
            host: self.host.clone(),
            index: self.table.clone(),
            namespace: namespace.to_owned(),
        })
    }

    async fn upsert(&self, namespace: &str, records: &[Record]) -> StageResult<()> {
        let (db, records): (_, Arc<[Record]>) = (&self.db, records.into());
        let records = &records;
        db.call(call("upsert", "write records", records.len()), || write::upsert(db, namespace, records))
            .await
    }

    async fn delete(&self, namespace: &str, ids: &[String]) -> StageResult<()> {
        let db = &self.db;
        db.call(call("delete", "delete records", ids.len()), || write::delete(db, namespace, ids)).await
    }

    async fn list(&self, namespace: &str, prefix: &str, after: Option<String>) -> StageResult<IdPage> {
        let (db, after) = (&self.db, after.as_deref());
        db.call(call("list", "list ids", 0), || read::list(db, namespace, prefix, after)).await
    }

    async fn fetch(&self, namespace: &str, ids: &[String]) -> StageResult<Vec<StoredRecord>> {
        let db = &self.db;
        db.call(call("fetch", "read records", ids.len()), || read::fetch(db, namespace, ids)).await
    }

    async fn query(&self, namespace: &str, query: &Query) -> StageResult<Vec<Match>> {
        let (db, filter) = (&self.db, Filter::of(self.stage(), query.filter.as_ref())?);
        let filter = &filter;
        db.call(call("query", "search", 0), || candidates::query(db, namespace, query, filter)).await
    }

    async fn search(&self, search: &Search) -> StageResult<Candidates> {
        let db = &self.db;
        let filter = &Filter::of(self.stage(), search.filter.as_ref())?;
        let selector = &search.selection.selector(self.stage())?;
        db.call(call("query", "search", 0), || candidates::search(db, search, selector, filter)).await
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
        let (db, selector) = (&self.db, &selection.selector(self.stage())?);
        let visit = &Mutex::new(Some(visit));
        db.call_within(db.patience, call("texts", "read texts", 0), || async move {
            // Files were passed already when a connection breaks, so this is not tried again.
            let Some(visit) = visit.lock().take() else {
                let message = "the connection broke while texts were read";
                return Err(StageError::new(&db.stage, ErrorKind::Local, message)
                    .hint("run the command again")
                    .into());
            };
            read::texts(db, scopes, selector, visit).await
        })
        .await?;
        Ok(true)
    }

    async fn describe(&self) -> StageResult<StoreDescription> {
        let db = &self.db;
        let (tables, namespaces) = db
            .call(call("describe", "count records", 0), || async move {
                Ok((schema::tables(db).await?, read::counts(db).await?))
            })
            .await?;
        let dimension = tables.map(|tables| tables.dimensions);
        Ok(StoreDescription { kind: "pgvector".into(), dimension, namespaces })
    }
}
