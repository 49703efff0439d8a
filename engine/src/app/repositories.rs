//! The repositories that a project selects.

use std::sync::Arc;

use serde::Serialize;

use super::scope::Role;
use super::{App, AppError, AppResult, Scope};
use crate::model::{GitSha, RepoEntry, RepoRef, StageResult};
use crate::source::{Head, Selection};
use crate::sync::{Project, StateAnswers};

/// A repository in the response of `/repositories`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RepositoryView {
    /// Its name.
    pub name: String,
    /// The default branch; empty if the listing does not have it.
    pub default_branch: String,
    /// The time of the last push; `None` if the source does not report it.
    pub pushed_at: Option<String>,
}

impl App {
    /// Lists the repositories of an owner, or those that a project selects.
    pub async fn repositories(
        &self,
        scope: &Scope,
        owner: Option<String>,
        keyword: Option<String>,
    ) -> AppResult<Vec<RepositoryView>> {
        let role = if owner.is_some() { Role::Source } else { Role::Whole };
        let project = self.pick(scope, role)?;
        if let Some(owner) = owner.as_deref().filter(|_| !self.access.is_whole()) {
            self.check_owner(scope, owner)?;
        }
        let selection = match owner {
            Some(owner) => Selection::Owner { owner, keyword },
            None => project.selection.clone(),
        };
        let listed = self.list(&project, &selection).await?;
        let listed = listed.into_iter().filter(|entry| self.access.has_repository(&entry.repo.name));
        let view = |entry: RepoEntry| RepositoryView {
            name: entry.repo.name,
            default_branch: entry.default_branch,
            pushed_at: entry.pushed_at,
        };
        Ok(listed.map(view).collect())
    }

    /// Finds a repository through the first project that selects it, and the head of its branch.
    pub(super) async fn find_repository(
        &self,
        scope: &Scope,
        name: &str,
    ) -> AppResult<(Arc<Project>, RepoEntry, GitSha)> {
        for project in self.serving(scope, Role::Source)? {
            let entry = self.selected(&project, name).await?;
            if let Some(entry) = entry.filter(|entry| self.access.has_repository(&entry.repo.name)) {
                let head = head(&project, &entry).await?;
                let head = head.ok_or_else(|| AppError::Absent(format!("`{name}` has no commits")))?;
                return Ok((project, entry, head));
            }
        }
        Err(AppError::Absent(format!("no project selects a repository `{name}`")))
    }

    /// Checks that a project that may be seen selects from this owner: the source could list those of others, too.
    fn check_owner(&self, scope: &Scope, owner: &str) -> AppResult<()> {
        let selects = |project: &Arc<Project>| match &project.selection {
            Selection::Owner { owner: own, .. } => own.eq_ignore_ascii_case(owner),
            Selection::Named(_) => false,
        };
        if self.serving(scope, Role::Source)?.iter().any(selects) {
            return Ok(());
        }
        Err(AppError::Absent(format!("no project selects the repositories of `{owner}`")))
    }

    async fn list(&self, project: &Project, selection: &Selection) -> StageResult<Vec<RepoEntry>> {
        let answers = StateAnswers { state: Arc::clone(&self.state), lease: None };
        Ok(project.source.list(selection, &answers, false).await?.repositories)
    }

    /// A repository of this name, where the project selects it.
    async fn selected(&self, project: &Project, name: &str) -> StageResult<Option<RepoEntry>> {
        let same = |repo: &RepoRef| repo.name.eq_ignore_ascii_case(name);
        let listed = match &project.selection {
            Selection::Named(repos) => match repos.iter().find(|repo| same(repo)) {
                Some(repo) => self.list(project, &Selection::Named(vec![repo.clone()])).await?,
                None => return Ok(None),
            },
            selection @ Selection::Owner { .. } => self.list(project, selection).await?,
        };
        Ok(listed.into_iter().find(|entry| same(&entry.repo)))
    }
}

/// The commit that the project indexes of a repository; none: it has none (yet).
async fn head(project: &Project, entry: &RepoEntry) -> StageResult<Option<GitSha>> {
    match project.source.head(entry, &project.branch, None).await? {
        Head::Commit(commit) => Ok(Some(commit)),
        Head::Empty | Head::Missing | Head::NoBranch => Ok(None),
    }
}
