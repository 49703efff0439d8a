//! The original services' operations, one route each.

use std::collections::BTreeMap;

use axum::Json;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::audit::Subject;
use super::client::Client;
use super::error::{ApiError, ApiResult, ErrorBody};
use super::extract::{Body, Params};
use crate::app::{ChangesView, PlaceDescription, RepositoryView, Scope};
use crate::model::{ApiScope, GitSha};

/// Texts in a call of `/embeddings`, records in one of `/upsert`, ids in one of `/delete`.
const ITEMS: usize = 1000;

macro_rules! subjects {
    ($($body:ty),+) => {$(
        impl Subject for $body {
            fn project(&self) -> Option<&str> {
                self.project.as_deref()
            }
        }
    )+};
}

subjects!(ProcessRequest, EmbeddingsRequest, UpsertRequest, DeleteRequest);

fn scope(project: Option<String>, stage: Option<String>) -> Scope {
    Scope { project, stage }
}

fn sha(name: &str, text: &str) -> ApiResult<GitSha> {
    text.parse().map_err(|_| ApiError::bad_request(format!("`{name}` is a commit's id of 40 hex digits")))
}

fn check_count(what: &str, n: usize) -> ApiResult<()> {
    if (1..=ITEMS).contains(&n) {
        Ok(())
    } else {
        Err(ApiError::bad_request(format!("`{what}` has 1 to {ITEMS} entries")))
    }
}

/// Whose repositories.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RepositoriesParams {
    /// An organization or a user; left out: those that the project selects.
    org: Option<String>,
    /// In name, description or topics.
    keyword: Option<String>,
    /// The project whose source is asked.
    project: Option<String>,
    /// The source.
    stage: Option<String>,
}

/// Repositories.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RepositoriesBody {
    repositories: Vec<RepositoryView>,
}

/// Repositories of an owner, or those that a project selects.
#[utoipa::path(get, path = "/repositories", tag = "operations", params(RepositoriesParams),
    responses((status = 200, body = RepositoriesBody), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody)))]
pub(super) async fn repositories(
    client: Client,
    Params(params): Params<RepositoriesParams>,
) -> ApiResult<Json<RepositoriesBody>> {
    let RepositoriesParams { org, keyword, project, stage } = params;
    if org.is_none() && keyword.is_some() {
        return Err(ApiError::bad_request("`keyword` goes with `org`"));
    }
    let repositories = client.handle.app().repositories(&scope(project, stage), org, keyword).await?;
    Ok(Json(RepositoriesBody { repositories }))
}

/// Which changes.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ChangesParams {
    /// The repository, as the project names it.
    repo: String,
    /// The commit to compare with; left out: every file is new.
    last_commit: Option<String>,
    /// The project that selects it.
    project: Option<String>,
    /// The source.
    stage: Option<String>,
}

/// What differs between a commit and the head of a repository that a project selects.
#[utoipa::path(get, path = "/changes", tag = "operations", params(ChangesParams),
    responses((status = 200, body = ChangesView), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 422, description = "the source knows no such commit", body = ErrorBody)))]
pub(super) async fn changes(
    client: Client,
    Params(params): Params<ChangesParams>,
) -> ApiResult<Json<ChangesView>> {
    let base = params.last_commit.as_deref().filter(|text| !text.is_empty());
    let base = base.map(|text| sha("last_commit", text)).transpose()?;
    Ok(Json(client.handle.app().changes(&scope(params.project, params.stage), &params.repo, base).await?))
}

/// Which file.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ContentParams {
    /// The repository, as the project names it.
    repo: String,
    /// The path from the repository's root.
    path: String,
    /// The commit; left out: the head of the project's branch.
    commit: Option<String>,
    /// The project that selects it.
    project: Option<String>,
    /// The source.
    stage: Option<String>,
}

/// A file.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ContentBody {
    repository: String,
    path: String,
    commit: String,
    blob_sha: String,
    /// Bytes.
    size: usize,
    /// `utf-8`, or `base64` where the file is no UTF-8.
    encoding: &'static str,
    content: String,
}

/// A file of a repository that a project selects.
#[utoipa::path(get, path = "/content", tag = "operations", params(ContentParams),
    responses((status = 200, body = ContentBody), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 422, description = "too large, or no such commit", body = ErrorBody)))]
pub(super) async fn content(
    client: Client,
    Params(params): Params<ContentParams>,
) -> ApiResult<Json<ContentBody>> {
    let commit = params.commit.as_deref().map(|text| sha("commit", text)).transpose()?;
    let scope = scope(params.project, params.stage);
    let found = client.handle.app().content(&scope, &params.repo, &params.path, commit).await?;
    let size = found.bytes.len();
    let (encoding, content) = match String::from_utf8(found.bytes.to_vec()) {
        Ok(text) => ("utf-8", text),
        Err(error) => ("base64", STANDARD.encode(error.as_bytes())),
    };
    let (repository, commit, blob_sha) = (found.repository, found.commit, found.blob_sha);
    Ok(Json(ContentBody { repository, path: params.path, commit, blob_sha, size, encoding, content }))
}

/// A text to chunk.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProcessRequest {
    /// The text.
    #[serde(alias = "content")]
    text: String,
    /// The file it is from: decides which chunker takes it. `text.md` when left out.
    #[serde(alias = "file_path")]
    path: Option<String>,
    /// The project whose chunkers cut it.
    project: Option<String>,
    /// One of its chunkers.
    stage: Option<String>,
}

/// Chunks.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProcessBody {
    /// In order: `chunk_index`, `text`, `start_line`, `end_line`, `language`, and `context`,
    /// `kind`, `name`, `attr_…` where there are.
    #[schema(value_type = Vec<Object>)]
    chunks: Vec<Map<String, Value>>,
    /// Why there are none, where the text would not be indexed.
    skipped: Option<&'static str>,
}

/// Chunk a text.
#[utoipa::path(post, path = "/process", tag = "operations", request_body = ProcessRequest,
    responses((status = 200, body = ProcessBody), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 422, description = "the chunker failed on it", body = ErrorBody)))]
pub(super) async fn process(
    client: Client,
    Body(request): Body<ProcessRequest>,
) -> ApiResult<Json<ProcessBody>> {
    let path = request.path.unwrap_or_else(|| "text.md".to_owned());
    let chunks =
        client.handle.app().process(&scope(request.project, request.stage), path, request.text).await?;
    let own = |key: &str| {
        let named = ["chunk_index", "text", "start_line", "end_line", "language", "context", "kind", "name"];
        named.contains(&key) || key.starts_with("attr_")
    };
    Ok(Json(match chunks {
        Ok(chunks) => {
            let shown = chunks.iter().map(|chunk| {
                let mut map = chunk.to_json();
                map.retain(|key, _| own(key));
                map
            });
            ProcessBody { chunks: shown.collect(), skipped: None }
        }
        Err(reason) => ProcessBody { chunks: Vec::new(), skipped: Some(reason.label()) },
    }))
}

/// Texts to embed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EmbeddingsRequest {
    /// The texts, 1 to 1000, none of them empty.
    #[serde(alias = "input")]
    texts: Vec<String>,
    /// The project whose embedder makes the vectors.
    project: Option<String>,
    /// The embedder.
    stage: Option<String>,
}

/// Vectors.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EmbeddingsBody {
    /// One for each text, in their order.
    embeddings: Vec<Vec<f32>>,
    /// What made them.
    model: String,
    dimensions: usize,
    /// Tokens that were charged. Only with the scope `admin`: it tells which texts somebody embedded before.
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<u64>,
    /// Texts whose vector was in the cache. Only with the scope `admin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    cached: Option<u64>,
}

/// Vectors of texts, through the cache.
#[utoipa::path(post, path = "/embeddings", tag = "operations", request_body = EmbeddingsRequest,
    responses((status = 200, body = EmbeddingsBody), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 422, description = "a text is empty, too long or refused", body = ErrorBody),
        (status = 503, body = ErrorBody)))]
pub(super) async fn embeddings(
    client: Client,
    Body(request): Body<EmbeddingsRequest>,
) -> ApiResult<Json<EmbeddingsBody>> {
    check_count("texts", request.texts.len())?;
    let made = client.handle.app().embed(&scope(request.project, request.stage), &request.texts).await?;
    let is_admin = client.has(ApiScope::Admin);
    Ok(Json(EmbeddingsBody {
        dimensions: made.vectors.first().map_or(0, Vec::len),
        embeddings: made.vectors,
        model: made.model,
        tokens: is_admin.then_some(made.tokens),
        cached: is_admin.then_some(made.cached),
    }))
}

/// A record.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RecordBody {
    /// 1 to 512 visible ASCII characters.
    id: String,
    #[serde(alias = "vector")]
    values: Vec<f32>,
    /// Text, numbers, booleans and lists of texts.
    #[serde(default)]
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
}

/// Records to write.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpsertRequest {
    /// A namespace that no project owns.
    namespace: String,
    /// 1 to 1000 records.
    vectors: Vec<RecordBody>,
    /// The project whose store takes them.
    project: Option<String>,
    /// The store.
    stage: Option<String>,
}

/// Records that were written.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UpsertBody {
    upserted_count: u64,
}

/// Write records into a namespace that no project owns.
#[utoipa::path(post, path = "/upsert", tag = "operations", request_body = UpsertRequest,
    responses((status = 200, body = UpsertBody), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, description = "a project owns the namespace", body = ErrorBody),
        (status = 422, description = "a record is not as the store takes it", body = ErrorBody),
        (status = 503, body = ErrorBody)))]
pub(super) async fn upsert(
    client: Client,
    Body(request): Body<UpsertRequest>,
) -> ApiResult<Json<UpsertBody>> {
    check_count("vectors", request.vectors.len())?;
    let records = request.vectors.into_iter().map(|record| (record.id, record.values, record.metadata));
    let scope = scope(request.project, request.stage);
    let upserted_count = client.handle.app().upsert(&scope, &request.namespace, records.collect()).await?;
    Ok(Json(UpsertBody { upserted_count }))
}

/// Records to delete.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteRequest {
    /// A namespace that no project owns.
    namespace: String,
    /// 1 to 1000 ids; unknown ones are ignored.
    ids: Vec<String>,
    /// The project whose store holds them.
    project: Option<String>,
    /// The store.
    stage: Option<String>,
}

/// Records that were deleted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeleteBody {
    deleted_count: usize,
}

/// Delete records from a namespace that no project owns.
#[utoipa::path(delete, path = "/delete", tag = "operations", request_body = DeleteRequest,
    responses((status = 200, body = DeleteBody), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, description = "a project owns the namespace", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn delete(
    client: Client,
    Body(request): Body<DeleteRequest>,
) -> ApiResult<Json<DeleteBody>> {
    check_count("ids", request.ids.len())?;
    let scope = scope(request.project, request.stage);
    client.handle.app().delete(&scope, &request.namespace, &request.ids).await?;
    Ok(Json(DeleteBody { deleted_count: request.ids.len() }))
}

/// Which store.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DescribeParams {
    /// The project whose store is described.
    project: Option<String>,
    /// The store.
    stage: Option<String>,
}

/// What stores hold.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DescribeBody {
    places: Vec<PlaceDescription>,
    /// Vectors of all these places.
    total: u64,
    /// Vectors by namespace, over all these places.
    namespaces: BTreeMap<String, u64>,
}

/// What the stores hold: one, or every one.
#[utoipa::path(get, path = "/describe", tag = "operations", params(DescribeParams),
    responses((status = 200, body = DescribeBody), (status = 404, body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(super) async fn describe(
    client: Client,
    Params(params): Params<DescribeParams>,
) -> ApiResult<Json<DescribeBody>> {
    let places = client.handle.app().describe(&scope(params.project, params.stage)).await?;
    let mut namespaces = BTreeMap::new();
    for (name, n) in places.iter().flat_map(|place| &place.namespaces) {
        *namespaces.entry(name.clone()).or_default() += n;
    }
    Ok(Json(DescribeBody { total: places.iter().map(|place| place.total).sum(), places, namespaces }))
}
