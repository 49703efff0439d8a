//! Compares what is recorded with what the stores hold, and repairs differences.

use super::{App, AppResult};
use crate::factory::RunFlags;
use crate::model::VerifyReport;
use crate::plan::Prune;
use crate::state::Lease;
use crate::sync::{self, Finding, Options};

impl App {
    /// Compares the vectors that the state records for these projects (all enabled ones if empty) with those in
    /// the stores.
    pub async fn verify(&self, projects: &[String]) -> AppResult<VerifyReport> {
        self.check_names(projects)?;
        let stores = self.stores(projects);
        let findings = sync::check(&*self.state, &stores, &self.config.project_names(), &self.cancel).await;
        Ok(report(false, findings))
    }

    /// The same, and repairs what differs: writes missing vectors, from the cache where it has them, and deletes
    /// unknown ones.
    pub async fn repair(&self, lease: Lease, projects: &[String]) -> AppResult<VerifyReport> {
        self.check_names(projects)?;
        let (stores, declared) = (self.stores(projects), self.config.project_names());
        let mut findings = sync::check(&*self.state, &stores, &declared, &self.cancel).await;
        if findings.iter().any(|finding| finding.report.is_open()) {
            sync::mend(&*self.state, &lease, &stores, &mut findings).await?;
            let again = self.candidates(projects).await?;
            self.run(lease, again, self.repairing(), None, "verify").await?;
            let after = sync::check(&*self.state, &stores, &declared, &self.cancel).await;
            for (finding, after) in findings.iter_mut().zip(after) {
                let left = after.report.missing.min(finding.report.missing);
                finding.report.written = finding.report.missing - left;
                finding.report.error = finding.report.error.take().or(after.report.error);
            }
        }
        Ok(report(true, findings))
    }

    /// Only the selected projects are written again; orphans are not touched.
    fn repairing(&self) -> Options {
        self.options(RunFlags {
            full: false,
            prune: Prune::No,
            allow_deletes: false,
            allow_cost: false,
            whole_file: false,
        })
    }
}

fn report(repair: bool, findings: Vec<Finding>) -> VerifyReport {
    VerifyReport { repair, projects: findings.into_iter().map(|finding| finding.report).collect() }
}
