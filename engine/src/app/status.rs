//! How far each project is behind its repositories.

use chrono::Utc;

use crate::model::{DeclaredProject, StageResult, StatusView};
use crate::state::State;

/// How far each declared project is behind its repositories, and what only the state knows.
pub async fn status(state: &dyn State, declared: &[DeclaredProject]) -> StageResult<StatusView> {
    let mut view = state.status(declared, Utc::now()).await?;
    view.running = state.holder().await?;
    Ok(view)
}
