//! Compares ledger and stores on request, with the stages of the running generation.

use super::handle::Handle;
use super::message::Refusal;
use crate::model::{StageResult, VerifyReport};
use crate::sync::{self, ProjectStore};

impl Handle {
    /// Compares the vectors that the ledger records with those in the stores. Read-only.
    pub async fn verify(&self, project: Option<&str>) -> Result<VerifyReport, Refusal> {
        let view = self.view();
        let generation = &view.generation;
        if let Some(name) = project
            && !generation.projects.contains_key(name)
        {
            return Err(match generation.config.project(name) {
                Some(_) => Refusal::Disabled(name.to_owned()),
                None => Refusal::NoProject(name.to_owned()),
            });
        }
        let chosen = generation.projects.iter().filter(|(name, _)| project.is_none_or(|one| one == *name));
        let stores: Vec<(String, StageResult<ProjectStore>)> = chosen
            .map(|(name, made)| {
                let store = made.as_ref().map(|project| ProjectStore::from(&**project));
                (name.clone(), store.map_err(Clone::clone))
            })
            .collect();
        let cancel = self.shared.cancel.child_token();
        // Cancels the comparison when the caller drops the request.
        let _stop = cancel.clone().drop_guard();
        let findings = sync::check(&*self.shared.reader, &stores, &generation.declared(), &cancel).await;
        let projects = findings.into_iter().map(|finding| finding.report).collect();
        Ok(VerifyReport { repair: false, projects })
    }
}
