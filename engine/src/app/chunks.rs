//! Chunks a text without indexing it.

use std::sync::Arc;

use super::scope::Role;
use super::{App, AppResult, Scope};
use crate::model::{ErrorKind, GitSha, Metadata, RepoRef, SkipReason, StageError, StageResult, TreeEntry};
use crate::sync::{Origin, Prepared, Project, Recipes, prepare};

impl App {
    /// Chunks a text as if it were a file at this path; each chunk as its metadata would be. The inner error is
    /// why no such file is indexed.
    pub async fn process(
        &self,
        scope: &Scope,
        path: String,
        text: String,
    ) -> AppResult<Result<Vec<Metadata>, SkipReason>> {
        let project = self.pick(scope, Role::Chunkers)?;
        let work = move || chunks(&project, &path, &text);
        let worked = self.factory.runtime().cores.run(work).await.unwrap_or_else(|panic| {
            Err(StageError::new("chunk", ErrorKind::Bug, "chunking panicked").caused_by(panic))
        });
        Ok(worked?)
    }
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
