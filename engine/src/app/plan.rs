//! Plans a run.

use std::path::PathBuf;

use super::{App, AppResult, Narrow as _};
use crate::factory::RunFlags;
use crate::plan::Plan;
use crate::sync::{self, PlanWriter};

/// What is planned.
#[derive(Debug, Clone)]
pub struct PlanRequest {
    /// The projects; empty: all enabled ones.
    pub projects: Vec<String>,
    /// What the run may do.
    pub flags: RunFlags,
    /// Fetch and chunk the contents to count chunks, texts and tokens.
    pub exact: bool,
    /// Path to save the plan to.
    pub out: Option<PathBuf>,
}

impl App {
    /// Plans a run. Needs no lease, and does not write to the state or to stores.
    pub async fn plan(&self, request: PlanRequest) -> AppResult<Plan> {
        let PlanRequest { projects, flags, exact, out } = request;
        self.check_names(&projects)?;
        let out = out.as_deref().map(PlanWriter::create).transpose()?;
        let candidates = self.candidates(&projects).await?;
        let mut plan = sync::plan(self.engine(), candidates, self.options(flags), exact, out).await?;
        plan.narrow(&self.access);
        Ok(plan)
    }
}
