//! The original services' operations on the running generation: which project serves a request,
//! and what nobody may touch.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use super::generation::Generation;
use super::handle::Handle;
use super::message::Refusal;
use crate::model::{GitSha, Match, Metadata, Place, RepoEntry, SkipReason, StageError, StageResult};
use crate::sync::operations as steps;
use crate::sync::{Project, ProjectSearch, search};

/// Who is to serve a request: a project, a stage by its name, or whoever is the only one.
#[derive(Debug, Clone, Default)]
pub struct Which {
    /// The project.
    pub project: Option<String>,
    /// The stage.
    pub stage: Option<String>,
}

/// Why an operation was not done.
#[derive(Debug)]
pub enum Unserved {
    /// No project of this name, or it is disabled.
    Project(Refusal),
    /// Nothing of that kind: what it is.
    Absent(String),
    /// More than one would serve: which.
    Ambiguous(String),
    /// The namespace belongs to this project.
    Owned(String),
    /// A value of the request cannot be: which, and what it must be.
    Invalid(String),
    /// A stage could not do it.
    Stage(StageError),
}

impl From<StageError> for Unserved {
    fn from(error: StageError) -> Self {
        Self::Stage(error)
    }
}

/// What operations give back.
pub type Served<T> = Result<T, Unserved>;

/// The part of a pipeline that serves a request.
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

/// A repository as `/repositories` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RepositoryView {
    /// Its name.
    pub name: String,
    /// The default branch; empty where the listing does not tell.
    pub default_branch: String,
    /// When it was last pushed to, where the source tells.
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
    /// The blob after the change; none for a removal.
    pub blob_sha: Option<String>,
}

/// What differs in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangesView {
    /// The repository.
    pub repository: String,
    /// The commit compared with; none: everything is new.
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

/// Vectors of texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    /// One for each text, in their order.
    pub vectors: Vec<Vec<f32>>,
    /// What made them, as people know it.
    pub model: String,
    /// Tokens that were charged.
    pub tokens: u64,
    /// Texts whose vector was in the cache.
    pub cached: u64,
}

/// A place, as `/describe` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct PlaceDescription {
    /// The store's stage.
    pub stage: String,
    /// Its kind.
    pub kind: String,
    /// Components of a vector; none while it is empty and bound to none.
    pub dimension: Option<usize>,
    /// Vectors in all namespaces. Remote counts lag.
    pub total: u64,
    /// Vectors in each namespace.
    pub namespaces: BTreeMap<String, u64>,
    /// The projects that live there, with their namespaces.
    pub projects: BTreeMap<String, String>,
}

impl Handle {
    /// The repositories of an owner, or those that a project selects.
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

    /// What differs between a commit and the head of a repository that a project selects.
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

    /// A file of a repository that a project selects, at the head or at a commit.
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
        let (blob, bytes) =
            found.ok_or_else(|| Unserved::Absent(format!("`{path}` is no file of `{repo}` at {commit}")))?;
        Ok(ContentView {
            repository: entry.repo.name,
            commit: commit.to_string(),
            blob_sha: blob.to_string(),
            bytes,
        })
    }

    /// The chunks of a text, as if it stood in a file of this path.
    pub async fn process(
        &self,
        which: &Which,
        path: String,
        text: String,
    ) -> Served<Result<Vec<Metadata>, SkipReason>> {
        let project = self.pick(which, Role::Chunkers)?;
        Ok(steps::process(project, path, text).await?)
    }

    /// Vectors of texts.
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

    /// Writes records into a namespace that no project owns.
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

    /// The nearest chunks of a project.
    pub async fn query(
        &self,
        which: &Which,
        text: &str,
        top_k: usize,
        filter: Option<&Value>,
    ) -> Served<Vec<Match>> {
        let project = self.pick(which, Role::Whole)?;
        Ok(search(&[ProjectSearch::from(&*project)], text, top_k, filter).await?)
    }

    /// What stores hold: one, or all of them.
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

    /// The one project that serves.
    fn pick(&self, which: &Which, role: Role) -> Served<Arc<Project>> {
        let view = self.view();
        let mut by_key: BTreeMap<String, Arc<Project>> = BTreeMap::new();
        for project in serving(&view.generation, which, role)? {
            by_key.entry(key(&project, role)).or_insert(project);
        }
        let names: Vec<&str> = by_key.keys().map(String::as_str).collect();
        if names.len() > 1 {
            let message = format!("more than one would serve; say which of the {role}: {}", names.join(", "));
            return Err(Unserved::Ambiguous(message));
        }
        let only = by_key.into_values().next();
        only.ok_or_else(|| Unserved::Absent("no enabled project serves this".to_owned()))
    }

    /// The repository, through the first project that selects it, and the head of its branch.
    async fn find_repository(&self, which: &Which, name: &str) -> Served<(Arc<Project>, RepoEntry, GitSha)> {
        let view = self.view();
        for project in serving(&view.generation, which, Role::Source)? {
            if let Some(entry) = steps::selected(&project, &self.shared.reader, name).await? {
                let head = steps::head(&project, &entry).await?;
                let head = head.ok_or_else(|| Unserved::Absent(format!("`{name}` has no commit to show")))?;
                return Ok((project, entry, head));
            }
        }
        Err(Unserved::Absent(format!("no project selects a repository `{name}`")))
    }

    /// A place that a project owns is written by its runs alone; also that of a project that has
    /// left the file, as long as the ledger knows it.
    async fn check_unowned(&self, project: &Project, namespace: &str) -> Served<()> {
        if !Place::is_namespace(namespace) {
            let message = "`namespace` is 1 to 512 visible ASCII characters, blanks only between them";
            return Err(Unserved::Invalid(message.to_owned()));
        }
        let view = self.view();
        let place = steps::place(project, namespace).await?;
        for other in &view.generation.config.projects {
            let owns = match view.generation.projects.get(&other.name) {
                Some(Ok(made)) => steps::place(made, &other.namespace).await? == place,
                // Disabled, or broken: its store cannot be asked for the place's whole name.
                _ => other.namespace == place.namespace,
            };
            if owns {
                return Err(Unserved::Owned(other.name.clone()));
            }
        }
        let owners = self.shared.reader.call(move |ledger| ledger.owners_of_place(&place)).await?;
        owners.into_iter().next().map_or(Ok(()), |owner| Err(Unserved::Owned(owner)))
    }
}

/// Commits of other branches, and such as were taken back, are not the project's to show.
async fn check_reached(project: &Project, entry: &RepoEntry, commit: GitSha, head: GitSha) -> Served<()> {
    if steps::reaches(project, &entry.repo, commit, head).await? {
        return Ok(());
    }
    let message =
        format!("the branch that the project indexes of `{}` has no commit {commit}", entry.repo.name);
    Err(StageError::refused(project.source.stage(), message).into())
}

/// The enabled projects that may serve, by name.
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
            return Err(Unserved::Absent(format!("no enabled project has a fitting stage `{stage}`")));
        }
    }
    Ok(made)
}

/// The stages of a project in a role.
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

/// What makes two projects the same for a role.
fn key(project: &Project, role: Role) -> String {
    match role {
        Role::Whole => project.name().to_owned(),
        Role::Chunkers => format!("{} ({})", stages(project, role).join(", "), project.embedder().stage()),
        _ => stages(project, role).join(", "),
    }
}
