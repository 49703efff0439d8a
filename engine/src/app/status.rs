//! How far each project is behind its repositories.

use chrono::Utc;

use super::App;
use crate::model::{DeclaredProject, StageResult, StatusView};
use crate::state::State;

/// How far each declared project is behind its repositories, and what only the state knows.
pub async fn status(state: &dyn State, declared: &[DeclaredProject]) -> StageResult<StatusView> {
    let mut view = state.status(declared, Utc::now()).await?;
    view.running = state.holder().await?;
    Ok(view)
}

impl App {
    /// How far each project of the file is behind its repositories.
    pub async fn status(&self) -> StageResult<StatusView> {
        status(&*self.state, &self.config.declared()).await
    }

    /// True if nothing is recorded as indexed of these projects (all of the file if empty).
    pub async fn nothing_indexed(&self, names: &[String]) -> StageResult<bool> {
        let declared = |name: &String| self.config.project(name).is_some();
        let counts = |name: &String| if names.is_empty() { declared(name) } else { names.contains(name) };
        let recorded = self.state.projects().await?;
        Ok(recorded.iter().all(|project| project.vectors == 0 || !counts(&project.name)))
    }
}
