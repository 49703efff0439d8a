//! Single steps of a project's pipeline, asked for one by one: what the original's services did.
//! None of them touches what the ledger says.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Map, Value};

use super::inspect::read_attributes;
use super::prepare::{CORES, Origin, Prepared, prepare};
use super::project_run::StateAnswers;
use super::setup::{Project, Recipes};
use crate::chunk::clean;
use crate::embed::Embedded;
use crate::model::{
    ErrorKind, GitSha, Metadata, Place, Record, RepoEntry, RepoRef, SecretsMode, SkipReason, StageError,
    StageResult, TreeEntry, Vector,
};
use crate::plan::Attributes;
use crate::source::{ChangedFile, ContentSink, Head, Selection};
use crate::state::State;
use crate::store::{StoreDescription, StoreLimits};

/// The repositories that a project selects, or those of an owner through the project's source.
pub async fn repositories(
    project: &Project,
    state: &Arc<dyn State>,
    owner: Option<(String, Option<String>)>,
) -> StageResult<Vec<RepoEntry>> {
    let selection = match owner {
        Some((owner, keyword)) => Selection::Owner { owner, keyword },
        None => project.selection.clone(),
    };
    list(project, state, &selection).await
}

async fn list(
    project: &Project,
    state: &Arc<dyn State>,
    selection: &Selection,
) -> StageResult<Vec<RepoEntry>> {
    let answers = StateAnswers { state: Arc::clone(state), fence: None };
    Ok(project.source.list(selection, &answers, false).await?.repositories)
}

/// A repository of this name, where the project selects it.
pub async fn selected(
    project: &Project,
    state: &Arc<dyn State>,
    name: &str,
) -> StageResult<Option<RepoEntry>> {
    let same = |repo: &RepoRef| repo.name.eq_ignore_ascii_case(name);
    let listed = match &project.selection {
        Selection::Named(repos) => match repos.iter().find(|repo| same(repo)) {
            Some(repo) => list(project, state, &Selection::Named(vec![repo.clone()])).await?,
            None => return Ok(None),
        },
        selection @ Selection::Owner { .. } => list(project, state, selection).await?,
    };
    Ok(listed.into_iter().find(|entry| same(&entry.repo)))
}

/// The commit that the project indexes of a repository; none: it has none (yet).
pub async fn head(project: &Project, entry: &RepoEntry) -> StageResult<Option<GitSha>> {
    match project.source.head(entry, &project.branch, None).await? {
        Head::Commit(commit) => Ok(Some(commit)),
        Head::Empty | Head::Missing | Head::NoBranch => Ok(None),
    }
}

/// True where the history of `head` holds `commit`.
pub async fn reaches(project: &Project, repo: &RepoRef, commit: GitSha, head: GitSha) -> StageResult<bool> {
    Ok(commit == head || project.source.commits_between(repo, commit, head).await?.is_some())
}

/// What differs between two commits among the files that the project selects; without a base,
/// every one of the head.
pub async fn changes(
    project: &Arc<Project>,
    repo: &RepoRef,
    base: Option<GitSha>,
    head: GitSha,
) -> StageResult<Vec<ChangedFile>> {
    let tree = project.source.tree(repo, head).await?;
    let selected = Selected::at(project, repo, head, &tree).await?;
    let Some(base) = base else {
        let added = |entry: TreeEntry| ChangedFile {
            path: entry.path,
            status: "added".to_owned(),
            previous_path: None,
            blob_sha: Some(entry.sha),
        };
        return Ok(tree.into_iter().filter(|entry| selected.skip(entry).is_none()).map(added).collect());
    };
    let mut files = project.source.changes(repo, base, head).await?;
    files.retain(|file| selected.has_path(&file.path));
    for file in &mut files {
        file.previous_path = file.previous_path.take().filter(|path| selected.has_path(path));
    }
    Ok(files)
}

/// What a project selects of a tree, by names, modes, sizes and `.gitattributes`.
struct Selected<'a> {
    project: &'a Project,
    recipes: Recipes,
    attributes: Attributes,
}

impl<'a> Selected<'a> {
    async fn at(
        project: &'a Arc<Project>,
        repo: &RepoRef,
        commit: GitSha,
        tree: &[TreeEntry],
    ) -> StageResult<Self> {
        let attributes = read_attributes(project, repo, commit, tree).await?;
        Ok(Self { project, recipes: Recipes::new(Arc::clone(project)), attributes })
    }

    /// Why a file is not indexed; `None`: its content decides.
    fn skip(&self, entry: &TreeEntry) -> Option<SkipReason> {
        let reason = self.project.selector.skip(entry, &self.attributes);
        reason.or_else(|| self.recipes.of(&entry.path).is_none().then_some(SkipReason::NoChunker))
    }

    /// The same by the path alone, for a file that may be gone.
    fn has_path(&self, path: &str) -> bool {
        let entry = TreeEntry::of_path(path);
        self.skip(&entry).is_none()
    }
}

/// A file's content at a commit, with its blob, as the project's `secrets` mode leaves it; `None`:
/// there is no such file among those that the project selects.
pub async fn content(
    project: &Arc<Project>,
    repo: &RepoRef,
    commit: GitSha,
    path: &str,
) -> StageResult<Option<(GitSha, Bytes)>> {
    let tree = project.source.tree(repo, commit).await?;
    let selected = Selected::at(project, repo, commit, &tree).await?;
    let Some(entry) = tree.into_iter().find(|entry| entry.path == path) else { return Ok(None) };
    match selected.skip(&entry) {
        None => {}
        Some(SkipReason::TooLarge) => {
            let most = project.selector.max_file_bytes;
            let message = format!("the file has more than `max_file_bytes` ({most})");
            return Err(StageError::refused(project.source.stage(), message));
        }
        Some(_) => return Ok(None),
    }
    let sha = entry.sha;
    let mut one = One::default();
    project.source.fetch(repo, commit, vec![entry], &mut one).await?;
    let Some(content) = one.content.transpose()? else { return Ok(None) };
    Ok(without_secrets(project, content).map(|content| (sha, content)))
}

/// A content as the index would hold it; `None`: it would not hold it.
fn without_secrets(project: &Project, content: Bytes) -> Option<Bytes> {
    if project.secrets == SecretsMode::Off {
        return Some(content);
    }
    let text = clean(&content).ok()?.text;
    match project.scanner.redact(&text) {
        Cow::Borrowed(_) => Some(content),
        Cow::Owned(redacted) => (project.secrets == SecretsMode::Redact).then(|| Bytes::from(redacted)),
    }
}

/// Keeps one content.
#[derive(Default)]
struct One {
    content: Option<StageResult<Bytes>>,
}

#[async_trait]
impl ContentSink for One {
    async fn put(&mut self, _: TreeEntry, content: StageResult<Bytes>) -> StageResult<()> {
        self.content = Some(content);
        Ok(())
    }
}

/// The chunks of a text as if it stood in a file of this path, each as its metadata would be. The
/// error of an unwanted file is why.
pub async fn process(
    project: Arc<Project>,
    path: String,
    text: String,
) -> StageResult<Result<Vec<Metadata>, SkipReason>> {
    let work = move || chunks(&project, &path, &text);
    CORES.run(work).await.unwrap_or_else(|panic| {
        Err(StageError::new("chunk", ErrorKind::Bug, "chunking panicked").caused_by(panic))
    })
}

fn chunks(project: &Arc<Project>, path: &str, text: &str) -> StageResult<Result<Vec<Metadata>, SkipReason>> {
    let recipes = Recipes::new(Arc::clone(project));
    let Some(recipe) = recipes.of(path) else { return Ok(Err(SkipReason::NoChunker)) };
    let entry = TreeEntry { size: Some(text.len() as u64), ..TreeEntry::of_path(path) };
    let repo = RepoRef { name: String::new(), key: String::new() };
    let origin = Origin { repo: &repo, commit: GitSha([0; 20]), entry: &entry, recipe: &recipe };
    Ok(match prepare(project, &origin, text.as_bytes(), &mut Vec::new())? {
        Prepared::Chunks(drafts, _) => Ok(drafts.into_iter().map(|draft| draft.metadata).collect()),
        Prepared::Skipped(reason) => Err(reason),
    })
}

/// Vectors of texts, through queue and cache like those of files.
pub async fn embed(project: &Project, texts: &[String]) -> StageResult<Vec<Embedded>> {
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

/// Where a namespace of the project's store is.
pub async fn place(project: &Project, namespace: &str) -> StageResult<Place> {
    project.store.place(namespace).await
}

/// Writes records that are not RepoSync's own: id, vector, metadata.
pub async fn upsert(
    project: &Project,
    namespace: &str,
    records: Vec<(String, Vec<f32>, Map<String, Value>)>,
) -> StageResult<u64> {
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

/// Deletes by id.
pub async fn delete(project: &Project, namespace: &str, ids: &[String]) -> StageResult<()> {
    for batch in ids.chunks(project.store.limits().ids_per_delete.max(1)) {
        project.store.delete(namespace, batch).await?;
    }
    Ok(())
}

/// Dimension and counts of the project's store.
pub async fn describe(project: &Project) -> StageResult<StoreDescription> {
    project.store.describe().await
}
