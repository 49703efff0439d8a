//! Which project serves a request that names no more than its role needs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{App, AppError, AppResult};
use crate::model::StageResult;
use crate::sync::Project;

/// Selects what serves a request. With neither field set, the only candidate serves it; more than
/// one is an error.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// The project.
    pub project: Option<String>,
    /// The stage.
    pub stage: Option<String>,
}

/// The part of a pipeline that an operation needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
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

impl App {
    /// The one project that can serve the request.
    pub(super) fn pick(&self, scope: &Scope, role: Role) -> AppResult<Arc<Project>> {
        let mut by_key: BTreeMap<String, Arc<Project>> = BTreeMap::new();
        for project in self.serving(scope, role)? {
            by_key.entry(key(&project, role)).or_insert(project);
        }
        let names: Vec<&str> = by_key.keys().map(String::as_str).collect();
        if names.len() > 1 {
            let message = format!("several {role} could serve this; name one of: {}", names.join(", "));
            return Err(AppError::Ambiguous(message));
        }
        let only = by_key.into_values().next();
        only.ok_or_else(|| AppError::Absent("no enabled project can serve this request".to_owned()))
    }

    /// The enabled projects that can serve the request.
    pub(super) fn serving(&self, scope: &Scope, role: Role) -> AppResult<Vec<Arc<Project>>> {
        self.check_names(scope.project.as_slice())?;
        let mut built = self.enabled(scope.project.as_deref())?;
        if let Some(stage) = &scope.stage {
            built.retain(|project| stages(project, role).contains(&stage.as_str()));
            if built.is_empty() {
                return Err(AppError::Absent(format!(
                    "no enabled project uses `{stage}` in the role needed"
                )));
            }
        }
        Ok(built)
    }

    /// The projects whose stages are built. One that is asked for by name fails where they cannot be.
    fn enabled(&self, name: Option<&str>) -> StageResult<Vec<Arc<Project>>> {
        let built = self.built.iter().flat_map(|built| built.iter());
        built
            .filter(|(own, _)| self.access.has_project(own))
            .filter(|(own, project)| name.map_or(project.is_ok(), |name| name == *own))
            .map(|(_, project)| project.clone())
            .collect()
    }
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
