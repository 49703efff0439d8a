//! Searches what is indexed.

use tokio_util::sync::CancellationToken;

use super::scope::Role;
use super::{App, AppResult, Scope, check_declared};
use crate::config::Config;
use crate::factory::StageFactory;
use crate::model::EventSink;
use crate::search::{Answer, Request, search};
use crate::sync::ProjectSearch;

/// Searches these projects (all enabled ones if empty), which are ranked together. Needs no state, no source and
/// no chunkers.
pub async fn query(config: &Config, names: &[String], requests: &[Request]) -> AppResult<Vec<Answer>> {
    let factory = StageFactory::new(CancellationToken::new(), EventSink::none());
    let projects = searches(&factory, config, names)?;
    let mut answers = Vec::with_capacity(requests.len());
    for request in requests {
        answers.push(search(&projects, request).await?);
    }
    Ok(answers)
}

/// These projects (all enabled ones if empty), as a search needs them.
pub fn searches(factory: &StageFactory, config: &Config, names: &[String]) -> AppResult<Vec<ProjectSearch>> {
    check_declared(config, names)?;
    Ok(factory.searches(config, names)?)
}

impl App {
    /// Searches the one project that fits, or those of `names` together.
    pub async fn query(&self, scope: &Scope, names: &[String], request: &Request) -> AppResult<Answer> {
        let mut projects = Vec::new();
        if names.is_empty() {
            projects.push(ProjectSearch::from(&*self.pick(scope, Role::Whole)?));
        }
        for name in names {
            let scope = Scope { project: Some(name.clone()), stage: scope.stage.clone() };
            projects.push(ProjectSearch::from(&*self.pick(&scope, Role::Whole)?));
        }
        Ok(search(&projects, request).await?)
    }
}
