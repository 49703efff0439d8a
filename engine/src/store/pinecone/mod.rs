//! Pinecone: an index described once through the control plane, everything else on its own host.
//!
//! The service is eventually consistent: what was written may be missing from the next read.

mod body;
mod call;
mod config;
mod control;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod settings;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, FuturesUnordered, StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::model::{
    Allowances, ErrorKind, EventSink, Fingerprint, Match, Place, Record, ServiceKind, StageError,
    StageResult, Vector,
};
use crate::net::{Limiter, Service, Timeouts, endpoint, host_of, http_client};

use super::{Filter, IdPage, Query, StoreDescription, StoreLimits, StoredRecord, VectorStore};
#[cfg(any(test, fuzzing))]
pub use fuzz::fuzz;
pub use settings::{CreateIndex, Metric, PineconeSettings};

use body::{
    Accepted, Fetched, Listed, Matches, Stats, UpsertBody, next_body, upsert_bodies, with_whole_numbers,
};
use call::{Caller, Reply};
use control::{Index, at};

/// Records in an upsert, and ids in a delete.
const MOST_RECORDS: usize = 1000;
/// Bytes in an upsert's body: the service says 2 MB.
const MOST_BYTES: usize = 2_000_000;
/// Bytes of a record's metadata: the service says 40 KB, and not how it counts.
const MOST_METADATA: usize = 38_000;
/// Ids in a page of a listing.
const LIST_PAGE: &str = "100";
/// Ids in a fetch, and bytes of them: they travel in the URL, of which servers take about 8 KB.
const FETCH_IDS: usize = 100;
const FETCH_BYTES: usize = 6000;
/// Matches that a query may ask for.
const MOST_MATCHES: usize = 10_000;
/// The name under which the service addresses the namespace without a name.
const DEFAULT_NAMESPACE: &str = "__default__";

/// Vectors in a Pinecone index.
///
/// Scores are the service's: the cosine or product; for a euclidean index the negated distance,
/// so that higher is nearer.
#[derive(Debug)]
pub struct PineconeStore {
    caller: Caller,
    settings: PineconeSettings,
    calls: usize,
    index: OnceCell<Index>,
    /// Bytes in an upsert: halved when the service finds one too large.
    most_bytes: AtomicUsize,
    /// Upserts that are encoded, which takes two to three times the memory of their vectors: as many as
    /// may be sent at once.
    encoded: Arc<Semaphore>,
}

impl PineconeStore {
    /// A client of the index. Nothing is asked before the first call that needs it.
    pub fn new(
        stage: impl Into<String>,
        settings: &PineconeSettings,
        concurrency: usize,
        cancel: CancellationToken,
        events: EventSink,
    ) -> StageResult<Self> {
        let stage = stage.into();
        endpoint(&stage, &settings.api_url)?;
        if let Some(host) = &settings.host {
            endpoint(&stage, host)?;
        }
        let calls = concurrency.max(1);
        let http = Arc::new(http_client(&stage)?);
        let limiter = Limiter::new(calls, None, None);
        let service = Service::new(ServiceKind::Store, stage, http, limiter, cancel, events);
        let caller = Caller::new(service, settings)?;
        Ok(Self {
            caller,
            settings: settings.clone(),
            calls,
            index: OnceCell::new(),
            most_bytes: AtomicUsize::new(MOST_BYTES),
            encoded: Arc::new(Semaphore::new(calls)),
        })
    }

    /// Replaces the default time-outs and retries.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.caller.service = self.caller.service.with_timeouts(timeouts);
        self
    }

    /// Shares the limits of the index with other processes.
    #[must_use]
    pub fn with_allowances(mut self, allowances: Option<&Arc<dyn Allowances>>) -> Self {
        let PineconeSettings { api_url, host, index, api_key, .. } = &self.settings;
        let host = host.as_deref().unwrap_or_default();
        let key = Fingerprint::of(["pinecone", api_url, host, index, api_key.expose()]);
        self.caller.service = self.caller.service.sharing(allowances, key, None);
        self
    }

    /// The bodies of the requests that an upsert of these records sends.
    pub fn upsert_bodies(&self, namespace: &str, records: &[Record]) -> StageResult<Vec<Bytes>> {
        let bodies = upsert_bodies(self.namespace(namespace)?, records, MOST_RECORDS, self.most_bytes())
            .map_err(|why| StageError::refused(self.stage(), why))?;
        Ok(bodies.into_iter().map(|part| part.body).collect())
    }

    fn most_bytes(&self) -> usize {
        self.most_bytes.load(Ordering::Relaxed)
    }

    async fn index(&self) -> StageResult<&Index> {
        self.index
            .get_or_try_init(async || {
                control::find(&self.caller, &self.settings)
                    .await?
                    .ok_or_else(|| control::missing(&self.caller, &self.settings, None))
            })
            .await
    }

    fn fits(&self, index: &Index, dimensions: usize) -> StageResult<()> {
        match index.dimension {
            Some(dimension) if dimension != dimensions => Err(StageError::misconfigured(
                self.caller.stage(),
                format!(
                    "the index `{}` takes vectors of {dimension} components, the embedder makes {dimensions}",
                    self.settings.index
                ),
            )
            .hint(format!(
                "set the embedder's `dimensions` to {dimension}, or name another `index` of dimension {dimensions}"
            ))),
            _ => Ok(()),
        }
    }

    /// The data plane's base, asked for only where the configuration does not name it.
    async fn host(&self) -> StageResult<Url> {
        match &self.settings.host {
            Some(host) => endpoint(self.caller.stage(), host),
            None => Ok(self.index().await?.url.clone()),
        }
    }

    /// The service takes ASCII names; the empty one has another on the wire.
    fn namespace<'a>(&self, namespace: &'a str) -> StageResult<&'a str> {
        if namespace.is_empty() {
            return Ok(DEFAULT_NAMESPACE);
        }
        if namespace.is_ascii() && namespace.len() <= 512 && !namespace.contains('\0') {
            return Ok(namespace);
        }
        Err(StageError::misconfigured(
            self.caller.stage(),
            format!("Pinecone takes no namespace `{namespace}`: only ASCII, at most 512 characters"),
        )
        .hint("set the project's `namespace`"))
    }

    fn bug(&self, what: &str, error: impl Into<anyhow::Error>) -> StageError {
        StageError::new(self.caller.stage(), ErrorKind::Bug, what).caused_by(error)
    }

    /// Encodes the next body, once there is room for it. Writing a hundred vectors as JSON takes
    /// milliseconds.
    async fn next_body(
        &self,
        namespace: &str,
        records: &Arc<[Record]>,
        from: usize,
    ) -> StageResult<(UpsertBody, OwnedSemaphorePermit)> {
        let room = Arc::clone(&self.encoded).acquire_owned().await;
        let room = room.map_err(|error| self.bug("the queue of upserts is closed", error))?;
        let (namespace, records, most_bytes) = (namespace.to_owned(), Arc::clone(records), self.most_bytes());
        let work = move || next_body(&namespace, &records, from, MOST_RECORDS, most_bytes);
        let body = tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| self.bug("encoding an upsert ended early", error))?
            .map_err(|why| StageError::refused(self.caller.stage(), why))?;
        Ok((body, room))
    }

    fn no_index(&self) -> StageError {
        control::missing(&self.caller, &self.settings, None)
    }

    /// Sends one body; where it is too large, its records in smaller ones.
    async fn send_upsert(
        &self,
        url: &Url,
        namespace: &str,
        records: &[Record],
        first: UpsertBody,
        _room: OwnedSemaphorePermit,
    ) -> StageResult<()> {
        let mut waiting = vec![first];
        while let Some(part) = waiting.pop() {
            let request = self.caller.post("upsert", part.records.len(), url.clone(), part.body.clone());
            match self.caller.call::<Accepted>(&request).await? {
                Reply::Done(Accepted {}) => {}
                Reply::TooLarge if part.records.len() > 1 => {
                    let half = part.body.len() / 2;
                    self.most_bytes.fetch_min(half, Ordering::Relaxed);
                    let from = part.records.start;
                    let smaller = upsert_bodies(namespace, &records[part.records], MOST_RECORDS, half)
                        .map_err(|why| StageError::refused(self.caller.stage(), why))?;
                    waiting.extend(smaller.into_iter().rev().map(|UpsertBody { records, body }| {
                        UpsertBody { records: records.start + from..records.end + from, body }
                    }));
                }
                Reply::TooLarge => {
                    let id = &records[part.records.start].id;
                    return Err(StageError::refused(
                        self.caller.stage(),
                        format!(
                            "the record `{id}` of {} bytes is too large for the service",
                            part.body.len()
                        ),
                    ));
                }
                Reply::Missing | Reply::Exists => return Err(self.no_index()),
            }
        }
        Ok(())
    }

    async fn fetch_page(
        &self,
        host: &Url,
        namespace: &str,
        ids: &[String],
    ) -> StageResult<Vec<StoredRecord>> {
        let mut url = at(host, &["vectors", "fetch"]);
        url.query_pairs_mut()
            .extend_pairs(ids.iter().map(|id| ("ids", id)))
            .append_pair("namespace", namespace);
        let request = self.caller.get("fetch", ids.len(), url);
        let Reply::Done(Fetched { mut vectors }) = self.caller.call(&request).await? else {
            return Ok(Vec::new());
        };
        Ok(ids
            .iter()
            .filter_map(|id| {
                let found = vectors.remove(id)?;
                Some(StoredRecord {
                    id: id.clone(),
                    vector: Vector::from(found.values),
                    metadata: with_whole_numbers(found.metadata),
                })
            })
            .collect())
    }
}

#[async_trait]
impl VectorStore for PineconeStore {
    fn stage(&self) -> &str {
        self.caller.stage()
    }

    fn limits(&self) -> StoreLimits {
        StoreLimits {
            records_per_upsert: MOST_RECORDS,
            bytes_per_upsert: MOST_BYTES,
            ids_per_delete: MOST_RECORDS,
            metadata_bytes: MOST_METADATA,
            calls: self.calls,
        }
    }

    async fn check(&self, dimensions: usize) -> StageResult<()> {
        let index = self
            .index
            .get_or_try_init(async || match control::find(&self.caller, &self.settings).await? {
                Some(index) => Ok(index),
                None => control::create(&self.caller, &self.settings, dimensions).await,
            })
            .await?;
        self.fits(index, dimensions)
    }

    async fn peek(&self, dimensions: usize) -> StageResult<bool> {
        let index = match self.index.get() {
            Some(index) => index,
            None => match control::find(&self.caller, &self.settings).await? {
                Some(index) => self.index.get_or_init(async || index).await,
                None if self.settings.create.is_some() => return Ok(false),
                None => return Err(control::missing(&self.caller, &self.settings, Some(dimensions))),
            },
        };
        self.fits(index, dimensions).map(|()| true)
    }

    /// An index that is still to be created is placed at the control plane: nothing is there yet.
    async fn place(&self, namespace: &str) -> StageResult<Place> {
        self.namespace(namespace)?;
        let host = match (&self.settings.host, self.index.get()) {
            (Some(host), _) => endpoint(self.stage(), host)?,
            (None, Some(index)) => index.url.clone(),
            (None, None) => match control::find(&self.caller, &self.settings).await? {
                Some(index) => self.index.get_or_init(async || index).await.url.clone(),
                None if self.settings.create.is_some() => endpoint(self.stage(), &self.settings.api_url)?,
                None => return Err(self.no_index()),
            },
        };
        let path = host.path().trim_end_matches('/');
        Ok(Place {
            kind: "pinecone".into(),
            host: format!("{}{path}", host_of(&host)),
            index: self.settings.index.clone(),
            namespace: namespace.to_owned(),
        })
    }

    async fn upsert(&self, namespace: &str, records: &[Record]) -> StageResult<()> {
        if records.is_empty() {
            return Ok(());
        }
        let namespace = self.namespace(namespace)?;
        if let Some(record) = records.iter().find(|record| !is_id(&record.id)) {
            let message = format!("Pinecone takes no id `{}`", record.id);
            return Err(StageError::new(self.stage(), ErrorKind::Bug, message));
        }
        let url = at(&self.host().await?, &["vectors", "upsert"]);
        let records: Arc<[Record]> = records.into();
        let mut sent = FuturesUnordered::new();
        let mut from = 0;
        while from < records.len() {
            let next = self.next_body(namespace, &records, from);
            tokio::pin!(next);
            // Those under way make the room that this one waits for.
            let (body, room) = loop {
                tokio::select! {
                    next = &mut next => break next?,
                    Some(done) = sent.next() => done?,
                }
            };
            from = body.records.end;
            sent.push(self.send_upsert(&url, namespace, &records, body, room));
        }
        sent.try_collect().await
    }

    /// By ids only: given a filter as well, the service would ignore the ids.
    async fn delete(&self, namespace: &str, ids: &[String]) -> StageResult<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let namespace = self.namespace(namespace)?;
        let url = at(&self.host().await?, &["vectors", "delete"]);
        let mut calls = Vec::new();
        for ids in ids.chunks(MOST_RECORDS) {
            let body = json!({ "ids": ids, "namespace": namespace }).to_string();
            let request = self.caller.post("delete", ids.len(), url.clone(), body);
            // `Missing`: the namespace does not exist, so there is nothing to delete.
            calls.push(async move { self.caller.call::<Accepted>(&request).await.map(drop) });
        }
        stream::iter(calls).buffer_unordered(self.calls).try_collect().await
    }

    async fn list(&self, namespace: &str, prefix: &str, after: Option<String>) -> StageResult<IdPage> {
        let namespace = self.namespace(namespace)?;
        let mut url = at(&self.host().await?, &["vectors", "list"]);
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("limit", LIST_PAGE).append_pair("namespace", namespace);
            if !prefix.is_empty() {
                query.append_pair("prefix", prefix);
            }
            if let Some(token) = &after {
                query.append_pair("paginationToken", token);
            }
        }
        let request = self.caller.get("list", 1, url);
        let Reply::Done(Listed { vectors, pagination }) = self.caller.call(&request).await? else {
            return Ok(IdPage::default());
        };
        Ok(IdPage {
            ids: vectors.into_iter().map(|one| one.id).collect(),
            next: pagination.and_then(|page| page.next).filter(|token| !token.is_empty()),
        })
    }

    async fn fetch(&self, namespace: &str, ids: &[String]) -> StageResult<Vec<StoredRecord>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let namespace = self.namespace(namespace)?;
        let host = self.host().await?;
        let longest = ids.iter().map(|id| id.len() + "ids=&".len()).max().unwrap_or(1);
        let page = (FETCH_BYTES / longest).clamp(1, FETCH_IDS);
        let mut calls = Vec::new();
        for ids in ids.chunks(page) {
            calls.push(self.fetch_page(&host, namespace, ids));
        }
        let pages: Vec<Vec<StoredRecord>> = stream::iter(calls).buffered(self.calls).try_collect().await?;
        Ok(pages.into_iter().flatten().collect())
    }

    async fn query(&self, namespace: &str, query: &Query) -> StageResult<Vec<Match>> {
        Filter::of(self.stage(), query.filter.as_ref())?; // what is not understood is refused in our words
        if query.top_k == 0 {
            return Ok(Vec::new());
        }
        let namespace = self.namespace(namespace)?;
        let index = self.index().await?;
        let mut body = json!({
            "vector": &*query.vector,
            "topK": query.top_k.min(MOST_MATCHES),
            "namespace": namespace,
            "includeMetadata": true,
            "includeValues": false,
        });
        if let Some(Value::Object(filter)) = &query.filter
            && !filter.is_empty()
        {
            body["filter"] = Value::Object(filter.clone());
        }
        let request = self.caller.post("query", 1, at(&index.url, &["query"]), body.to_string());
        let Reply::Done(Matches { matches }) = self.caller.call(&request).await? else {
            return Ok(Vec::new());
        };
        let sign = if index.metric == Some(Metric::Euclidean) { -1.0 } else { 1.0 };
        Ok(matches
            .into_iter()
            .map(|one| Match {
                id: one.id,
                score: one.score * sign,
                metadata: with_whole_numbers(one.metadata),
            })
            .collect())
    }

    async fn describe(&self) -> StageResult<StoreDescription> {
        let url = at(&self.host().await?, &["describe_index_stats"]);
        let request = self.caller.post("describe_index_stats", 1, url, "{}");
        let Reply::Done(stats) = self.caller.call::<Stats>(&request).await? else {
            return Err(self.no_index());
        };
        let mut namespaces = std::collections::BTreeMap::new();
        for (name, counted) in stats.namespaces {
            // The namespace without a name is shown under either of two.
            let name = if name.is_empty() { DEFAULT_NAMESPACE.to_owned() } else { name };
            *namespaces.entry(name).or_default() += counted.vector_count;
        }
        namespaces.retain(|_, count| *count > 0);
        Ok(StoreDescription { kind: "pinecone".into(), dimension: stats.dimension, namespaces })
    }
}

fn is_id(id: &str) -> bool {
    id.is_ascii() && (1..=512).contains(&id.len()) && !id.contains('\0')
}
