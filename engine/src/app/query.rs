//! Searches what is indexed.

use tokio_util::sync::CancellationToken;

use super::scope::Role;
use super::{App, AppResult, BuiltProjects, Scope, check_declared};
use crate::config::Config;
use crate::factory::StageFactory;
use crate::model::{EventSink, StageResult};
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
    /// Searches these projects (all enabled ones if empty) together. One whose stages cannot be built is named in a
    /// note; if it was asked for by name, it is an error.
    pub async fn search(&self, names: &[String], request: &Request) -> AppResult<Answer> {
        self.check_names(names)?;
        let (projects, notes) = if let Some(built) = &self.built {
            built_searches(built, names)?
        } else {
            let names = names.to_vec();
            let work = move |factory: &StageFactory, config: &Config| factory.searches(config, &names);
            (self.off_executor(work).await??, Vec::new())
        };
        let mut answer = search(&projects, request).await?;
        answer.notes.extend(notes);
        Ok(answer)
    }

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

fn built_searches(built: &BuiltProjects, names: &[String]) -> StageResult<(Vec<ProjectSearch>, Vec<String>)> {
    let (mut projects, mut notes) = (Vec::new(), Vec::new());
    for (name, project) in built.iter().filter(|(name, _)| names.is_empty() || names.contains(name)) {
        match project {
            Ok(project) => projects.push(ProjectSearch::from(&**project)),
            Err(error) if names.is_empty() => {
                notes.push(format!("project `{name}` is not searched: {}", error.one_line()));
            }
            Err(error) => return Err(error.clone()),
        }
    }
    Ok((projects, notes))
}
