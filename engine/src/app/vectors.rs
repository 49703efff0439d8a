//! Vectors on request: embedding texts, and records that are not RepoSync's own.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::scope::Role;
use super::{App, AppError, AppResult, Scope};
use crate::embed::Embedded;
use crate::model::{ErrorKind, Metadata, Place, Record, StageError, StageResult, Vector};
use crate::store::StoreLimits;
use crate::sync::Project;

/// A record that is not RepoSync's own: id, vector, metadata.
pub type ForeignRecord = (String, Vec<f32>, Map<String, Value>);

/// Embeddings of texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    /// One vector per text, in the same order.
    pub vectors: Vec<Vec<f32>>,
    /// The display name of the model.
    pub model: String,
    /// Tokens that the service charged.
    pub tokens: u64,
    /// Texts whose vector was in the cache.
    pub cached: u64,
}

/// A vector store in the response of `/describe`.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct PlaceDescription {
    /// The store's stage.
    pub stage: String,
    /// Its kind.
    pub kind: String,
    /// Components per vector; `None` while the store is empty and not bound to a dimension.
    pub dimension: Option<usize>,
    /// Vectors in all namespaces. Counts of remote stores may be stale.
    pub total: u64,
    /// Vectors in each namespace.
    pub namespaces: BTreeMap<String, u64>,
    /// The namespaces of the projects that use the store, by project.
    pub projects: BTreeMap<String, String>,
}

impl App {
    /// Embeds texts.
    pub async fn embed(&self, scope: &Scope, texts: &[String]) -> AppResult<Vectors> {
        let project = self.pick(scope, Role::Embedder)?;
        let embedded = embed(&project, texts).await?;
        Ok(Vectors {
            tokens: embedded.iter().map(|one| one.tokens).sum(),
            cached: embedded.iter().map(|one| u64::from(one.cached)).sum(),
            vectors: embedded.into_iter().map(|one| one.vector.to_vec()).collect(),
            model: project.embedder().label().to_owned(),
        })
    }

    /// Writes records to a namespace that no project owns.
    pub async fn upsert(
        &self,
        scope: &Scope,
        namespace: &str,
        records: Vec<ForeignRecord>,
    ) -> AppResult<u64> {
        let project = self.pick(scope, Role::Store)?;
        self.check_unowned(&project, namespace).await?;
        Ok(upsert(&project, namespace, records).await?)
    }

    /// Deletes records from a namespace that no project owns.
    pub async fn delete(&self, scope: &Scope, namespace: &str, ids: &[String]) -> AppResult<()> {
        let project = self.pick(scope, Role::Store)?;
        self.check_unowned(&project, namespace).await?;
        for batch in ids.chunks(project.store.limits().ids_per_delete.max(1)) {
            project.store.delete(namespace, batch).await?;
        }
        Ok(())
    }

    /// Describes one store, or all of them.
    pub async fn describe(&self, scope: &Scope) -> AppResult<Vec<PlaceDescription>> {
        let mut stores = BTreeMap::new();
        for project in self.serving(scope, Role::Store)? {
            stores.entry(project.store.stage().to_owned()).or_insert(project);
        }
        let mut places = Vec::new();
        for (stage, project) in stores {
            let description = project.store.describe().await?;
            let own = self.config.projects.iter();
            let own = own.filter(|project| project.store == stage && self.access.has_project(&project.name));
            let projects: BTreeMap<String, String> =
                own.map(|project| (project.name.clone(), project.namespace.clone())).collect();
            let mut namespaces = description.namespaces;
            if !self.access.is_whole() {
                namespaces.retain(|name, _| projects.values().any(|own| own == name));
            }
            places.push(PlaceDescription {
                kind: description.kind,
                dimension: description.dimension,
                total: namespaces.values().sum(),
                namespaces,
                projects,
                stage,
            });
        }
        Ok(places)
    }

    /// Rejects namespaces that a project owns: only its runs write there. A project that was
    /// removed from the file owns its namespace until the ledger drops it.
    async fn check_unowned(&self, project: &Project, namespace: &str) -> AppResult<()> {
        if !Place::is_namespace(namespace) {
            let message =
                "`namespace` must be 1 to 512 visible ASCII characters; spaces are allowed only between them";
            return Err(AppError::Invalid(message.to_owned()));
        }
        let place = project.store.place(namespace).await?;
        for other in &self.config.projects {
            let owns = match self.built.as_ref().and_then(|built| built.get(&other.name)) {
                Some(Ok(built)) => built.store.place(&other.namespace).await? == place,
                // The project is disabled or its stages failed to build, so its store cannot
                // resolve the full place. Compares the namespace alone.
                _ => other.namespace == place.namespace,
            };
            if owns {
                return Err(self.owned(&other.name));
            }
        }
        let owners = self.state.owners_of_place(&place).await?;
        owners.into_iter().next().map_or(Ok(()), |owner| Err(self.owned(&owner)))
    }

    /// The refusal of a namespace that belongs to a project, which is named if it may be seen.
    fn owned(&self, project: &str) -> AppError {
        AppError::Owned(self.access.has_project(project).then(|| project.to_owned()))
    }
}

/// Vectors of texts, through queue and cache like those of files.
async fn embed(project: &Project, texts: &[String]) -> StageResult<Vec<Embedded>> {
    let embedder = project.embedder();
    let most = embedder.limits().tokens_per_input;
    for (index, text) in texts.iter().enumerate() {
        if text.trim().is_empty() {
            return Err(StageError::refused(embedder.stage(), format!("text {index} is empty")));
        }
        let tokens = embedder.count_tokens(text);
        if tokens > most {
            let message = format!("text {index} has {tokens} tokens, more than {most}");
            return Err(StageError::refused(embedder.stage(), message));
        }
    }
    let inputs = texts.iter().map(|text| embedder.input(None, text)).collect();
    project.queue.embed(project.name(), inputs).await.into_iter().collect()
}

/// Writes records that are not RepoSync's own: id, vector, metadata.
async fn upsert(project: &Project, namespace: &str, records: Vec<ForeignRecord>) -> StageResult<u64> {
    let stage = project.store.stage();
    let limits = project.store.limits();
    let Some(dimensions) = records.first().map(|(_, vector, _)| vector.len()) else { return Ok(0) };
    let mut made = Vec::with_capacity(records.len());
    for (id, vector, metadata) in records {
        check_record(stage, &limits, dimensions, &id, &vector, &metadata)?;
        made.push(Record { id, vector: Vector::from(vector), metadata: Metadata::foreign(metadata).into() });
    }
    if let Some(held) = project.store.describe().await?.dimension.filter(|held| *held != dimensions) {
        let message = format!("the vectors have {dimensions} components, the store's have {held}");
        return Err(StageError::refused(stage, message));
    }
    for batch in made.chunks(limits.records_per_upsert.max(1)) {
        project.store.upsert(namespace, batch).await?;
    }
    Ok(made.len() as u64)
}

fn check_record(
    stage: &str,
    limits: &StoreLimits,
    dimensions: usize,
    id: &str,
    vector: &[f32],
    metadata: &Map<String, Value>,
) -> StageResult<()> {
    let refuse =
        |what: &str| Err(StageError::new(stage, ErrorKind::BadInput, format!("record `{id}`: {what}")));
    if id.is_empty() || id.len() > 512 || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return refuse("an id is 1 to 512 visible ASCII characters");
    }
    if vector.len() != dimensions {
        return refuse("its vector is not as long as the first one");
    }
    let norm: f64 = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    if !norm.is_finite() || norm <= 0.0 {
        return refuse("its vector is a zero vector");
    }
    let flat = |value: &Value| match value {
        Value::String(_) | Value::Bool(_) | Value::Number(_) => true,
        Value::Array(items) => items.iter().all(Value::is_string),
        Value::Null | Value::Object(_) => false,
    };
    if !metadata.values().all(flat) {
        return refuse("metadata is text, numbers, booleans and lists of texts");
    }
    if serde_json::to_string(metadata).unwrap_or_default().len() > limits.metadata_bytes {
        return refuse("its metadata is larger than the store takes");
    }
    Ok(())
}
