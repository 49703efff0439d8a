//! A fake of Pinecone's control and data plane with one index: enforces the limits and rules of the
//! real service, and checks requests and answers against the published specification.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reposync::store::Filter;
use reposync::store::pinecone::{CreateIndex, Metric, PineconeSettings};
use serde_json::{Map, Value, json};

use super::http::{Request, Response, Server};
use super::openapi::Spec;

pub(crate) const KEY: &str = "pcsk_fake-key-of-the-tests";
pub(crate) const INDEX: &str = "docs";
/// The data plane is below a path, as behind a proxy.
const DATA: &str = "/data/docs-1a2b";
const CONTROL_SPEC: &str = "pinecone-db_control-2026-04.oas.yaml";
const DATA_SPEC: &str = "pinecone-db_data-2026-04.oas.yaml";

type Namespaces = BTreeMap<String, BTreeMap<String, Stored>>;

#[derive(Debug, Clone)]
struct Stored {
    values: Vec<f32>,
    metadata: Map<String, Value>,
}

/// The content of the index at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Content(Namespaces);

/// Settings that a test may change before or while the client works.
#[derive(Debug)]
pub(crate) struct State {
    /// `None`: there is no index.
    pub(crate) dimension: Option<usize>,
    pub(crate) metric: String,
    pub(crate) vector_type: String,
    /// Number of descriptions that still say "not ready".
    pub(crate) not_ready: usize,
    /// Another client creates the index just before this client's attempt.
    pub(crate) created_by_another: bool,
    /// Creation is refused with a quota error.
    pub(crate) quota_used_up: bool,
    /// Maximum size of a request body in bytes.
    pub(crate) most_bytes: usize,
    /// Number of reads that do not see a write yet.
    pub(crate) lag: u64,
    /// Records written and deleted, by request.
    pub(crate) upserted: Vec<usize>,
    pub(crate) deleted: Vec<usize>,
    reads: u64,
    visible: Namespaces,
    written: Namespaces,
    unseen: VecDeque<(u64, Namespaces)>,
    problems: Vec<String>,
}

/// The fake. Requests that break the rules but that the real service would accept are recorded as
/// problems and fail the test on drop.
pub(crate) struct Pinecone {
    pub(crate) server: Server,
    state: Arc<Mutex<State>>,
}

impl Pinecone {
    /// With an index of this dimension, or none.
    pub(crate) fn start(dimension: Option<usize>) -> Self {
        let state = Arc::new(Mutex::new(State {
            dimension,
            metric: "cosine".into(),
            vector_type: "dense".into(),
            not_ready: 0,
            created_by_another: false,
            quota_used_up: false,
            most_bytes: 2_000_000,
            lag: 0,
            upserted: Vec::new(),
            deleted: Vec::new(),
            reads: 0,
            visible: Namespaces::new(),
            written: Namespaces::new(),
            unseen: VecDeque::new(),
            problems: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        let server = Server::start(move |request| lock(&shared).answer(request));
        Self { server, state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The index was deleted and recreated with another dimension.
    pub(crate) fn empty(&self, dimension: usize) {
        let mut state = self.state();
        state.dimension = Some(dimension);
        state.unseen.clear();
        state.written.clear();
        state.visible.clear();
    }

    /// Everything that is stored.
    pub(crate) fn content(&self) -> Content {
        Content(self.state().written.clone())
    }

    /// Stores exactly this.
    pub(crate) fn restore(&self, content: &Content) {
        let mut state = self.state();
        state.unseen.clear();
        state.visible.clone_from(&content.0);
        state.written.clone_from(&content.0);
    }

    /// Settings that find the index through the control plane.
    pub(crate) fn settings(&self) -> PineconeSettings {
        let text = json!({ "index": INDEX, "api_key": KEY, "api_url": self.server.url() });
        serde_json::from_value(text).expect("settings")
    }

    /// Settings that create the index.
    pub(crate) fn creating(&self) -> PineconeSettings {
        let create = CreateIndex { cloud: "aws".into(), region: "us-east-1".into(), metric: Metric::Cosine };
        PineconeSettings { create: Some(create), ..self.settings() }
    }

    /// The data plane's URL.
    pub(crate) fn host(&self) -> String {
        format!("{}{DATA}", self.server.url())
    }

    /// The records stored in a namespace, visible to reads or not: vector, and metadata without
    /// `commit_sha` and `url`.
    pub(crate) fn records(&self, namespace: &str) -> BTreeMap<String, (Vec<f32>, Map<String, Value>)> {
        let state = self.state();
        let held = state.written.get(namespace).into_iter().flatten();
        held.map(|(id, stored)| {
            let mut metadata = stored.metadata.clone();
            metadata.retain(|key, _| !matches!(key.as_str(), "commit_sha" | "url"));
            (id.clone(), (stored.values.clone(), metadata))
        })
        .collect()
    }

    /// Violations of the service's rules since the last call.
    pub(crate) fn take_problems(&self) -> Vec<String> {
        std::mem::take(&mut self.state().problems)
    }

    /// Everything stored, by namespace and id, visible to reads or not.
    pub(crate) fn ids(&self, namespace: &str) -> Vec<String> {
        self.state().written.get(namespace).into_iter().flat_map(BTreeMap::keys).cloned().collect()
    }
}

impl Drop for Pinecone {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.take_problems(), [""; 0]);
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Errors of the data plane, with gRPC codes. 3: invalid argument, 5: not found.
fn refused(status: u16, code: u8, message: &str) -> Response {
    Response::json(status, &json!({ "code": code, "message": message, "details": [] }))
}

/// Errors of the control plane.
fn failed(status: u16, code: &str, message: &str) -> Response {
    Response::json(status, &json!({ "status": status, "error": { "code": code, "message": message } }))
}

impl State {
    fn answer(&mut self, request: &Request) -> Response {
        if request.header("x-pinecone-api-version") != Some("2026-04") {
            self.problems.push(format!("{} {}: no version", request.method, request.path));
        }
        let (spec, path) = match request.path.strip_prefix(DATA) {
            Some(path) => (DATA_SPEC, path),
            None => (CONTROL_SPEC, request.path.as_str()),
        };
        let spec = Spec::load(spec);
        if let Some(spec) = spec {
            let query = request.query.as_deref();
            self.problems.extend(spec.check_request(&request.method, path, query, &request.body).err());
        }
        let allowed = request.header("api-key") == Some(KEY);
        let answer = match (path == request.path, allowed) {
            (true, false) => failed(401, "UNAUTHENTICATED", "Invalid API Key"),
            (false, false) => Response::text(401, "Unauthorized"),
            (true, true) => self.control(request),
            (false, true) if self.dimension.is_none() => Response::of(404, "text/html", "<html></html>"),
            (false, true) => self.data(request, path),
        };
        if let Some(spec) = spec {
            let checked = spec.check_response(
                &request.method,
                path,
                answer.status,
                answer.content_type(),
                &answer.body,
            );
            self.problems.extend(checked.err());
        }
        answer
    }

    fn control(&mut self, request: &Request) -> Response {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/indexes/docs") => match self.dimension {
                Some(_) => Response::json(200, &self.described(request)),
                None => failed(404, "NOT_FOUND", "Index docs not found."),
            },
            ("POST", "/indexes") => self.create(request),
            _ => failed(404, "NOT_FOUND", "Resource not found"),
        }
    }

    fn described(&mut self, request: &Request) -> Value {
        let ready = self.not_ready == 0;
        self.not_ready = self.not_ready.saturating_sub(1);
        let host = request.header("host").expect("HTTP/1.1");
        let mut described = json!({
            "name": INDEX,
            "dimension": self.dimension,
            "metric": self.metric,
            "host": format!("http://{host}{DATA}"),
            "spec": { "serverless": { "cloud": "aws", "region": "us-east-1", "read_capacity": {
                "mode": "OnDemand", "status": { "state": "Ready" } } } },
            "status": { "ready": ready, "state": if ready { "Ready" } else { "Initializing" } },
            "vector_type": self.vector_type,
            "deletion_protection": "disabled",
        });
        if self.vector_type == "sparse" {
            described.as_object_mut().expect("an object").remove("dimension");
        }
        described
    }

    fn create(&mut self, request: &Request) -> Response {
        let asked = request.json();
        let dimension = asked["dimension"].as_u64().and_then(|dimension| usize::try_from(dimension).ok());
        if self.quota_used_up {
            return failed(429, "QUOTA_EXCEEDED", "The index exceeds the project quota of 5 indexes.");
        }
        if self.created_by_another {
            self.dimension = dimension;
        }
        if self.dimension.is_some() {
            return failed(409, "ALREADY_EXISTS", "Resource already exists.");
        }
        if asked["name"] != INDEX || !dimension.is_some_and(|dimension| (1..=20_000).contains(&dimension)) {
            return failed(400, "INVALID_ARGUMENT", "Index name or dimension is not allowed.");
        }
        self.dimension = dimension;
        asked["metric"].as_str().unwrap_or("cosine").clone_into(&mut self.metric);
        Response::json(201, &self.described(request))
    }

    fn data(&mut self, request: &Request, path: &str) -> Response {
        if request.body.len() > self.most_bytes {
            return Response::text(413, "");
        }
        if request.path.len() + request.query.as_ref().map_or(0, String::len) > 8000 {
            return Response::text(414, "URI Too Long");
        }
        let result = match (request.method.as_str(), path) {
            ("POST", "/vectors/upsert") => self.upsert(&request.json()),
            ("POST", "/vectors/delete") => self.delete(&request.json()),
            ("GET", "/vectors/list") => self.list(&request.parameters()),
            ("GET", "/vectors/fetch") => self.fetch(&request.parameters()),
            ("POST", "/query") => self.query(&request.json()),
            ("POST", "/describe_index_stats") => Ok(self.statistics()),
            _ => return refused(404, 5, "no such route"),
        };
        match result {
            Ok(answer) => Response::json(200, &answer),
            Err(answer) => answer,
        }
    }

    fn upsert(&mut self, asked: &Value) -> Result<Value, Response> {
        let invalid = |message: String| refused(400, 3, &message);
        let vectors = asked["vectors"].as_array().cloned().unwrap_or_default();
        if vectors.is_empty() || vectors.len() > 1000 {
            return Err(invalid(format!("{} vectors; 1 to 1000 are allowed", vectors.len())));
        }
        let mut checked = Vec::new();
        for vector in &vectors {
            let id = vector["id"].as_str().unwrap_or_default();
            if id.is_empty() || id.len() > 512 || !id.is_ascii() || id.contains('\0') {
                return Err(invalid(format!("Vector ID must be ASCII, but got '{id}'")));
            }
            let values: Vec<f32> = serde_json::from_value(vector["values"].clone())
                .map_err(|error| invalid(format!("values: {error}")))?;
            let dimension = self.dimension.expect("an index");
            if values.len() != dimension {
                return Err(invalid(format!(
                    "Vector dimension {} does not match the dimension of the index {dimension}",
                    values.len()
                )));
            }
            if values.iter().all(|value| *value == 0.0) {
                return Err(invalid("Dense vectors must contain at least one non-zero value".into()));
            }
            let metadata = vector["metadata"].as_object().cloned().unwrap_or_default();
            checked.push((id.to_owned(), Stored { values, metadata: as_kept(&metadata).map_err(invalid)? }));
        }
        let namespace = namespace_of(asked["namespace"].as_str())?;
        let upserted = checked.len();
        self.upserted.push(upserted);
        self.write(|namespaces| namespaces.entry(namespace).or_default().extend(checked));
        Ok(json!({ "upsertedCount": upserted }))
    }

    fn delete(&mut self, asked: &Value) -> Result<Value, Response> {
        let ids: Vec<String> = serde_json::from_value(asked["ids"].clone()).unwrap_or_default();
        if let (false, Some(filter)) = (ids.is_empty(), asked.get("filter")) {
            // The real service ignores the ids then, which no client wants.
            self.problems.push(format!("ids are ignored beside the filter {filter}"));
        }
        if ids.is_empty() || ids.len() > 1000 {
            return Err(refused(400, 3, "1 to 1000 ids are allowed"));
        }
        let namespace = namespace_of(asked["namespace"].as_str())?;
        if !self.written.contains_key(&namespace) {
            return Err(refused(404, 5, "Namespace not found"));
        }
        self.deleted.push(ids.len());
        self.write(|namespaces| {
            let held = namespaces.entry(namespace).or_default();
            if let Some(filter) = asked.get("filter") {
                let filter = Filter::parse(filter).expect("a filter");
                held.retain(|_, stored| !filter.matches(&stored.metadata));
            } else {
                held.retain(|id, _| !ids.contains(id));
            }
        });
        Ok(json!({}))
    }

    fn list(&mut self, parameters: &[(String, String)]) -> Result<Value, Response> {
        let given =
            |name| parameters.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str());
        let limit: usize = given("limit").map_or(Ok(100), str::parse).unwrap_or(0);
        if !(1..=100).contains(&limit) {
            return Err(refused(400, 3, "limit must be between 1 and 100"));
        }
        let after = given("paginationToken").map(|token| hex::decode(token).expect("a token of ours"));
        let prefix = given("prefix").unwrap_or_default();
        let namespace = namespace_of(given("namespace"))?;
        let mut ids: Vec<String> = self.seen(&namespace).into_keys().collect();
        ids.retain(|id| {
            id.starts_with(prefix) && after.as_ref().is_none_or(|after| id.as_bytes() > after.as_slice())
        });
        let more = ids.len() > limit;
        ids.truncate(limit);
        let listed: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
        let mut answer = json!({ "vectors": listed, "namespace": namespace, "usage": { "readUnits": 1 } });
        if let (true, Some(last)) = (more, ids.last()) {
            answer["pagination"] = json!({ "next": hex::encode(last) });
        }
        Ok(answer)
    }

    fn fetch(&mut self, parameters: &[(String, String)]) -> Result<Value, Response> {
        let ids: Vec<&str> =
            parameters.iter().filter(|(name, _)| name == "ids").map(|(_, id)| id.as_str()).collect();
        if ids.is_empty() || ids.len() > 1000 {
            return Err(refused(400, 3, "1 to 1000 ids are allowed"));
        }
        let named = parameters.iter().find(|(name, _)| name == "namespace").map(|(_, value)| value.as_str());
        let namespace = namespace_of(named)?;
        let held = self.seen(&namespace);
        let vectors: Map<String, Value> = ids
            .into_iter()
            .filter_map(|id| {
                let Stored { values, metadata } = held.get(id)?;
                Some((id.to_owned(), json!({ "id": id, "values": values, "metadata": metadata })))
            })
            .collect();
        Ok(json!({ "vectors": vectors, "namespace": namespace, "usage": { "readUnits": 1 } }))
    }

    fn query(&mut self, asked: &Value) -> Result<Value, Response> {
        let invalid = |message: &str| refused(400, 3, message);
        let vector: Vec<f32> =
            serde_json::from_value(asked["vector"].clone()).map_err(|_| invalid("no vector"))?;
        if Some(vector.len()) != self.dimension {
            return Err(invalid("Query vector dimension does not match the dimension of the index"));
        }
        let most = asked["topK"].as_u64().filter(|most| (1..=10_000).contains(most));
        let most = most.ok_or_else(|| invalid("topK must be between 1 and 10000"))?;
        let filter = asked.get("filter").cloned().unwrap_or_else(|| json!({}));
        let filter = Filter::parse(&filter).map_err(|why| invalid(&why))?;
        let namespace = namespace_of(asked["namespace"].as_str())?;
        let euclidean = self.metric == "euclidean";
        let mut matches: Vec<(f32, String, Map<String, Value>)> = self
            .seen(&namespace)
            .into_iter()
            .filter(|(_, stored)| filter.matches(&stored.metadata))
            .map(|(id, stored)| (score(euclidean, &stored.values, &vector), id, stored.metadata))
            .collect();
        // The nearest first; in a euclidean index a smaller score is nearer.
        matches.sort_by(|a, b| if euclidean { a.0.total_cmp(&b.0) } else { b.0.total_cmp(&a.0) });
        let matches: Vec<Value> = matches
            .into_iter()
            .take(usize::try_from(most).expect("small"))
            .map(|(score, id, metadata)| json!({ "id": id, "score": score, "metadata": metadata }))
            .collect();
        Ok(json!({ "matches": matches, "namespace": namespace, "usage": { "readUnits": 1 } }))
    }

    fn statistics(&mut self) -> Value {
        self.see();
        let namespaces: Map<String, Value> = self
            .visible
            .iter()
            .map(|(name, held)| (name.clone(), json!({ "vectorCount": held.len() })))
            .collect();
        let total: usize = self.visible.values().map(BTreeMap::len).sum();
        json!({
            "dimension": self.dimension,
            "indexFullness": 0.0,
            "totalVectorCount": total,
            "metric": self.metric,
            "vectorType": self.vector_type,
            "namespaces": namespaces,
        })
    }

    /// Applies a write, visible to reads once the lag is over.
    fn write(&mut self, change: impl FnOnce(&mut Namespaces)) {
        change(&mut self.written);
        self.unseen.push_back((self.reads + self.lag, self.written.clone()));
    }

    fn see(&mut self) {
        while self.unseen.front().is_some_and(|(due, _)| *due <= self.reads) {
            self.visible = self.unseen.pop_front().expect("looked at").1;
        }
        self.reads += 1;
    }

    fn seen(&mut self, namespace: &str) -> BTreeMap<String, Stored> {
        self.see();
        self.visible.get(namespace).cloned().unwrap_or_default()
    }
}

/// The default namespace is stored under the empty name and addressed by either name.
fn namespace_of(named: Option<&str>) -> Result<String, Response> {
    match named {
        None | Some("" | "__default__") => Ok(String::new()),
        Some(name) if name.is_ascii() && name.len() <= 512 => Ok(name.to_owned()),
        Some(_) => Err(refused(400, 3, "Namespace must be ASCII")),
    }
}

/// Metadata as the service stores it: flat, no null, every number a float.
fn as_kept(metadata: &Map<String, Value>) -> Result<Map<String, Value>, String> {
    let bytes = Value::Object(metadata.clone()).to_string().len();
    if bytes > 40_960 {
        return Err(format!(
            "Metadata size is {bytes} bytes, which exceeds the limit of 40960 bytes per vector"
        ));
    }
    let mut kept = Map::new();
    for (key, value) in metadata {
        if key.starts_with('$') {
            return Err(format!("Metadata key '{key}' must not start with '$'"));
        }
        let value = match value {
            Value::String(_) | Value::Bool(_) => value.clone(),
            Value::Number(number) => json!(number.as_f64()),
            Value::Array(entries) if entries.iter().all(Value::is_string) => value.clone(),
            _ => {
                return Err(format!(
                    "Metadata value of '{key}' must be a string, number, boolean or list of strings"
                ));
            }
        };
        kept.insert(key.clone(), value);
    }
    Ok(kept)
}

fn score(euclidean: bool, a: &[f32], b: &[f32]) -> f32 {
    let product = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    if euclidean {
        a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
    } else {
        product(a, b) / (product(a, a) * product(b, b)).sqrt()
    }
}
