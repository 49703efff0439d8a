//! Executes a run.

use std::path::Path;

use super::{App, AppResult};
use crate::chunk::component::Lock;
use crate::factory::{self, RunFlags};
use crate::model::{Report, StageError, StageResult};
use crate::state::Lease;
use crate::sync::{self, Candidate, Options, SavedPlan};

/// What `apply` executes.
#[derive(Debug)]
pub struct ApplyRequest {
    /// The projects; empty: all enabled ones.
    pub projects: Vec<String>,
    /// What the run may do.
    pub flags: RunFlags,
    /// The saved plan to execute, with its projects and options.
    pub saved: Option<SavedPlan>,
    /// Refuse components that differ from `reposync.lock`.
    pub locked: bool,
}

impl App {
    /// Executes a run, and records the components in use in `reposync.lock`.
    pub async fn apply(&self, lease: Lease, request: ApplyRequest) -> AppResult<Report> {
        let ApplyRequest { projects, flags, saved, locked } = request;
        let names = saved.as_ref().map_or(projects, SavedPlan::projects);
        self.check_names(&names)?;
        let lock_file = self.config.path.with_file_name("reposync.lock");
        let components = self
            .off_executor(|factory, config| {
                factory::clear_leftovers(config);
                factory.components(config)
            })
            .await?;
        if locked {
            check_components(&lock_file, components.as_ref().map_err(Clone::clone)?)?;
        }
        let candidates = self.candidates(&names).await?;
        let report = self.run(lease, candidates, self.options(flags), saved, "apply").await?;
        // A component that cannot be loaded fails its projects, which is in the report.
        if let Ok(components) = components
            && (components != Lock::default() || lock_file.exists())
        {
            components.write(&lock_file).map_err(|error| {
                let message = format!("cannot write `{}`", lock_file.display());
                StageError::local("components", message).caused_by(error)
            })?;
        }
        Ok(report)
    }

    /// Executes a run over these projects.
    pub(crate) async fn run(
        &self,
        lease: Lease,
        candidates: Vec<Candidate>,
        options: Options,
        saved: Option<SavedPlan>,
        trigger: &str,
    ) -> StageResult<Report> {
        let options = Options { review: Some(self.review()), ..options };
        let report = sync::run(self.engine(), lease, candidates, options, saved, trigger).await?;
        // A run that embedded nothing leaves the vector cache closed.
        if report.projects.iter().any(|project| project.counts.texts_embedded > 0) {
            self.factory.forget_free_vectors(&self.config).await;
        }
        Ok(report)
    }
}

/// `--locked`: checks that the components are those of `reposync.lock`.
fn check_components(lock_file: &Path, components: &Lock) -> StageResult<()> {
    let locked = Lock::read(lock_file).map_err(|error| {
        StageError::local("components", format!("cannot read `{}`", lock_file.display())).caused_by(error)
    })?;
    let differences = locked.unwrap_or_default().differences(components);
    if differences.is_empty() {
        return Ok(());
    }
    let message = format!("components differ from `{}`: {}", lock_file.display(), differences.join("; "));
    Err(StageError::misconfigured("components", message)
        .hint("if they are meant to, run `reposync apply` without `--locked`: it writes the lock anew"))
}
