//! How far each project is behind its repositories.

use chrono::Utc;
use tokio_util::sync::CancellationToken;

use super::freshness::freshness;
use super::{App, Narrow as _};
use crate::config::Config;
use crate::factory::StageFactory;
use crate::model::{DeclaredProject, EventSink, Freshness, ProjectStatus, StageResult, StatusView};
use crate::state::State;

/// How far each declared project is behind its repositories, and what only the state knows.
pub async fn status(state: &dyn State, declared: &[DeclaredProject]) -> StageResult<StatusView> {
    let mut view = state.status(declared, Utc::now()).await?;
    view.running = state.holder().await?;
    Ok(view)
}

/// How current each repository is whose work tree is on this machine, of the enabled projects of the file.
pub async fn work_trees(config: &Config, state: &dyn State, status: &StatusView) -> Vec<Freshness> {
    let factory = StageFactory::new(CancellationToken::new(), EventSink::none());
    let is_local = |status: &&ProjectStatus| {
        let declared = config.project(&status.project).filter(|project| project.enabled);
        declared.is_some_and(|project| factory.local_source(config, project).is_some())
    };
    let of = status.projects.iter().filter(is_local).flat_map(|project| {
        project.repositories.iter().map(|one| (project.project.clone(), one.repository.clone()))
    });
    freshness(state, &factory, config, &of.collect(), None).await
}

impl App {
    /// How far each project of the file is behind its repositories.
    pub async fn status(&self) -> StageResult<StatusView> {
        let mut view = status(&*self.state, &self.config.declared()).await?;
        view.narrow(&self.access);
        Ok(view)
    }

    /// True if nothing is recorded as indexed of these projects (all of the file if empty).
    pub async fn nothing_indexed(&self, names: &[String]) -> StageResult<bool> {
        let declared = |name: &String| self.config.project(name).is_some();
        let counts = |name: &String| self.is_chosen(names, name) && (!names.is_empty() || declared(name));
        let recorded = self.state.projects().await?;
        Ok(recorded.iter().all(|project| project.vectors == 0 || !counts(&project.name)))
    }
}
