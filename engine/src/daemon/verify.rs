//! Ledger and stores compared on request, with the stages of the running generation.

use std::sync::Arc;

use super::handle::Handle;
use super::message::Refusal;
use crate::model::{StageResult, VerifyReport};
use crate::sync::{self, ProjectStore};

impl Handle {
    /// Compares what the ledger believes to be stored with what the stores hold; changes nothing.
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
        // Ends with the request: nobody waits for the answer to a caller that left.
        let _stop = cancel.clone().drop_guard();
        let ledger = Arc::clone(&self.shared.reader);
        let findings = sync::check(&ledger, &stores, &generation.declared(), &cancel).await;
        let projects = findings.into_iter().map(|finding| finding.report).collect();
        Ok(VerifyReport { repair: false, projects })
    }
}
