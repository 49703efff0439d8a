//! The operations of the original services (`/repositories`, `/embed`, `/upsert`, …) on the running
//! generation: selects the project that serves a request and protects namespaces that projects own.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use super::generation::Generation;
use super::handle::Handle;
use super::message::Refusal;
use crate::model::{GitSha, Metadata, Place, RepoEntry, SkipReason, StageError, StageResult};
use crate::search::{Answer, Request, search};
use crate::sync::operations as steps;
use crate::sync::{Project, ProjectSearch};

/// Selects what serves a request. With neither field set, the only candidate serves it; more than
/// one is an error.
#[derive(Debug, Clone, Default)]
pub struct Which {
    /// The project.
    pub project: Option<String>,
    /// The stage.
    pub stage: Option<String>,
}

/// Why an operation failed.
#[derive(Debug)]
pub enum Unserved {
    /// No project of this name, or it is disabled.
    Project(Refusal),
    /// Nothing found; the message says what.
    Absent(String),
    /// Several candidates; the message lists them.
    Ambiguous(String),
    /// The namespace belongs to the named project.
    Owned(String),
    /// A value of the request is invalid; the message says which and what is allowed.
    Invalid(String),
    /// A stage returned an error.
    Stage(StageError),
}

impl From<StageError> for Unserved {
    fn from(error: StageError) -> Self {
        Self::Stage(error)
    }
}

/// The result of an operation.
pub type Served<T> = Result<T, Unserved>;

/// The part of a pipeline that an operation needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Source,
    Chunkers,
    Embedder,
    Store,
    /// The project as a whole.
    Whole,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "sources",
            Self::Chunkers | Self::Whole => "projects",
            Self::Embedder => "embedders",
            Self::Store => "stores",
        })
    }
}

/// A repository in the response of `/repositories`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RepositoryView {
    /// Its name.
    pub name: String,
    /// The default branch; empty if the listing does not have it.
    pub default_branch: String,
    /// The time of the last push; `None` if the source does not report it.
    pub pushed_at: Option<String>,
}

/// A file that differs between two commits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangeView {
    /// The path after the change.
    pub path: String,
    /// `added`, `removed`, `modified`, `renamed`, `copied`, `changed`.
    pub status: String,
    /// The path before, for a rename.
    pub previous_path: Option<String>,
    /// The blob after the change; `None` for a removal.
    pub blob_sha: Option<String>,
}

/// The differences between two commits of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangesView {
    /// The repository.
    pub repository: String,
    /// The base commit; `None`: every file counts as added.
    pub base: Option<String>,
    /// The head of the branch that the project indexes.
    pub head: String,
    /// The files.
    pub files: Vec<ChangeView>,
}

/// A file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentView {
    /// The repository.
    pub repository: String,
    /// The commit.
    pub commit: String,
    /// The blob.
    pub blob_sha: String,
    /// The bytes.
    pub bytes: bytes::Bytes,
}

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
#[derive(Debug, Clone, Serialize)]
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

impl Handle {
    /// Lists the repositories of an owner, or those that a project selects.
    pub async fn repositories(
        &self,
        which: &Which,
        owner: Option<String>,
        keyword: Option<String>,
    ) -> Served<Vec<RepositoryView>> {
        let role = if owner.is_some() { Role::Source } else { Role::Whole };
        let project = self.pick(which, role)?;
        let listed =
            steps::repositories(&project, &self.shared.reader, owner.map(|owner| (owner, keyword))).await?;
        let view = |entry: RepoEntry| RepositoryView {
            name: entry.repo.name,
            default_branch: entry.default_branch,
            pushed_at: entry.pushed_at,
        };
        Ok(listed.into_iter().map(view).collect())
    }

    /// Lists the files that differ between a commit and the head of a repository that a project
    /// selects.
    pub async fn changes(&self, which: &Which, repo: &str, base: Option<GitSha>) -> Served<ChangesView> {
        let (project, entry, head) = self.find_repository(which, repo).await?;
        if let Some(base) = base {
            check_reached(&project, &entry, base, head).await?;
        }
        let files = steps::changes(&project, &entry.repo, base, head).await?;
        let files = files
            .into_iter()
            .map(|file| ChangeView {
                path: file.path,
                status: file.status,
                previous_path: file.previous_path,
                blob_sha: file.blob_sha.map(|sha| sha.to_string()),
            })
            .collect();
        let base = base.map(|sha| sha.to_string());
        Ok(ChangesView { repository: entry.repo.name, base, head: head.to_string(), files })
    }

    /// Returns a file of a repository that a project selects, at its head or at a commit.
    pub async fn content(
        &self,
        which: &Which,
        repo: &str,
        path: &str,
        commit: Option<GitSha>,
    ) -> Served<ContentView> {
        let (project, entry, head) = self.find_repository(which, repo).await?;
        let commit = commit.unwrap_or(head);
        check_reached(&project, &entry, commit, head).await?;
        let found = steps::content(&project, &entry.repo, commit, path).await?;
        let (blob, bytes) = found
            .ok_or_else(|| Unserved::Absent(format!("`{repo}` has no file `{path}` at commit {commit}")))?;
        Ok(ContentView {
            repository: entry.repo.name,
            commit: commit.to_string(),
            blob_sha: blob.to_string(),
            bytes,
        })
    }

    /// Chunks a text as if it were a file at this path.
    pub async fn process(
        &self,
        which: &Which,
        path: String,
        text: String,
    ) -> Served<Result<Vec<Metadata>, SkipReason>> {
        let project = self.pick(which, Role::Chunkers)?;
        Ok(steps::process(project, path, text).await?)
    }

    /// Embeds texts.
    pub async fn embed(&self, which: &Which, texts: &[String]) -> Served<Vectors> {
        let project = self.pick(which, Role::Embedder)?;
        let embedded = steps::embed(&project, texts).await?;
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
        which: &Which,
        namespace: &str,
        records: Vec<(String, Vec<f32>, Map<String, Value>)>,
    ) -> Served<u64> {
        let project = self.pick(which, Role::Store)?;
        self.check_unowned(&project, namespace).await?;
        Ok(steps::upsert(&project, namespace, records).await?)
    }

    /// Deletes records from a namespace that no project owns.
    pub async fn delete(&self, which: &Which, namespace: &str, ids: &[String]) -> Served<()> {
        let project = self.pick(which, Role::Store)?;
        self.check_unowned(&project, namespace).await?;
        Ok(steps::delete(&project, namespace, ids).await?)
    }

    /// Searches one project, or those of `names` together.
    pub async fn query(&self, which: &Which, names: &[String], request: &Request) -> Served<Answer> {
        let mut projects = Vec::new();
        if names.is_empty() {
            projects.push(ProjectSearch::from(&*self.pick(which, Role::Whole)?));
        }
        for name in names {
            let which = Which { project: Some(name.clone()), stage: which.stage.clone() };
            projects.push(ProjectSearch::from(&*self.pick(&which, Role::Whole)?));
        }
        Ok(search(&projects, request).await?)
    }

    /// Describes one store, or all of them.
    pub async fn describe(&self, which: &Which) -> Served<Vec<PlaceDescription>> {
        let view = self.view();
        let mut stores = BTreeMap::new();
        for project in serving(&view.generation, which, Role::Store)? {
            stores.entry(project.store.stage().to_owned()).or_insert(project);
        }
        let mut places = Vec::new();
        for (stage, project) in stores {
            let description = steps::describe(&project).await?;
            let own = view.generation.config.projects.iter().filter(|project| project.store == stage);
            places.push(PlaceDescription {
                kind: description.kind,
                dimension: description.dimension,
                total: description.namespaces.values().sum(),
                namespaces: description.namespaces,
                projects: own.map(|project| (project.name.clone(), project.namespace.clone())).collect(),
                stage,
            });
        }
        Ok(places)
    }

    /// The one project that can serve the request.
    fn pick(&self, which: &Which, role: Role) -> Served<Arc<Project>> {
        let view = self.view();
        let mut by_key: BTreeMap<String, Arc<Project>> = BTreeMap::new();
        for project in serving(&view.generation, which, role)? {
            by_key.entry(key(&project, role)).or_insert(project);
        }
        let names: Vec<&str> = by_key.keys().map(String::as_str).collect();
        if names.len() > 1 {
            let message = format!("several {role} could serve this; name one of: {}", names.join(", "));
            return Err(Unserved::Ambiguous(message));
        }
        let only = by_key.into_values().next();
        only.ok_or_else(|| Unserved::Absent("no enabled project can serve this request".to_owned()))
    }

    /// Finds a repository through the first project that selects it, and the head of its branch.
    async fn find_repository(&self, which: &Which, name: &str) -> Served<(Arc<Project>, RepoEntry, GitSha)> {
        let view = self.view();
        for project in serving(&view.generation, which, Role::Source)? {
            if let Some(entry) = steps::selected(&project, &self.shared.reader, name).await? {
                let head = steps::head(&project, &entry).await?;
                let head = head.ok_or_else(|| Unserved::Absent(format!("`{name}` has no commits")))?;
                return Ok((project, entry, head));
            }
        }
        Err(Unserved::Absent(format!("no project selects a repository `{name}`")))
    }

    /// Rejects namespaces that a project owns: only its runs write there. A project that was
    /// removed from the file owns its namespace until the ledger drops it.
    async fn check_unowned(&self, project: &Project, namespace: &str) -> Served<()> {
        if !Place::is_namespace(namespace) {
            let message =
                "`namespace` must be 1 to 512 visible ASCII characters; spaces are allowed only between them";
            return Err(Unserved::Invalid(message.to_owned()));
        }
        let view = self.view();
        let place = steps::place(project, namespace).await?;
        for other in &view.generation.config.projects {
            let owns = match view.generation.projects.get(&other.name) {
                Some(Ok(made)) => steps::place(made, &other.namespace).await? == place,
                // The project is disabled or its stages failed to build, so its store cannot
                // resolve the full place. Compares the namespace alone.
                _ => other.namespace == place.namespace,
            };
            if owns {
                return Err(Unserved::Owned(other.name.clone()));
            }
        }
        let owners = self.shared.reader.owners_of_place(&place).await?;
        owners.into_iter().next().map_or(Ok(()), |owner| Err(Unserved::Owned(owner)))
    }
}

/// Rejects commits that are not reachable from the indexed head: other branches and commits removed
/// by a force-push are not exposed.
async fn check_reached(project: &Project, entry: &RepoEntry, commit: GitSha, head: GitSha) -> Served<()> {
    if steps::reaches(project, &entry.repo, commit, head).await? {
        return Ok(());
    }
    let message =
        format!("commit {commit} is not on the branch of `{}` that the project indexes", entry.repo.name);
    Err(StageError::refused(project.source.stage(), message).into())
}

/// The enabled projects that can serve the request.
fn serving(generation: &Generation, which: &Which, role: Role) -> Served<Vec<Arc<Project>>> {
    if let Some(name) = &which.project {
        if generation.config.project(name).is_none() {
            return Err(Unserved::Project(Refusal::NoProject(name.clone())));
        }
        if !generation.projects.contains_key(name) {
            return Err(Unserved::Project(Refusal::Disabled(name.clone())));
        }
    }
    let named = |name: &str| which.project.as_ref().is_none_or(|wanted| wanted == name);
    let made: StageResult<Vec<Arc<Project>>> = generation
        .projects
        .iter()
        .filter(|(name, project)| named(name) && (project.is_ok() || which.project.is_some()))
        .map(|(_, project)| project.clone())
        .collect();
    let mut made = made?;
    if let Some(stage) = &which.stage {
        made.retain(|project| stages(project, role).contains(&stage.as_str()));
        if made.is_empty() {
            return Err(Unserved::Absent(format!("no enabled project uses `{stage}` in the role needed")));
        }
    }
    Ok(made)
}

/// The names of a project's stages in a role.
fn stages(project: &Project, role: Role) -> Vec<&str> {
    let chunkers = || project.chunkers.iter().map(|chunker| chunker.stage());
    match role {
        Role::Source => vec![project.source.stage()],
        Role::Chunkers => chunkers().collect(),
        Role::Embedder => vec![project.embedder().stage()],
        Role::Store => vec![project.store.stage()],
        Role::Whole => {
            let one = [project.source.stage(), project.embedder().stage(), project.store.stage()];
            one.into_iter().chain(chunkers()).collect()
        }
    }
}

/// Projects with the same key are interchangeable for the role.
fn key(project: &Project, role: Role) -> String {
    match role {
        Role::Whole => project.name().to_owned(),
        Role::Chunkers => format!("{} ({})", stages(project, role).join(", "), project.embedder().stage()),
        _ => stages(project, role).join(", "),
    }
}
