//! Searches what is indexed.

use std::collections::BTreeSet;

use tokio_util::sync::CancellationToken;

use super::freshness::{Early, freshness, repositories};
use super::scope::Role;
use super::{App, AppResult, BuiltProjects, Scope, check_declared};
use crate::config::Config;
use crate::factory::{StageFactory, open_for_reading};
use crate::model::{Access, EventSink, Freshness, StageError, StageResult};
use crate::search::{Answer, Request, search};
use crate::sync::ProjectSearch;

/// Searches these projects (all enabled ones if empty), which are ranked together. Needs no chunkers and no remote
/// source. The state says how current the answers are, and what services allow; without it, both are unknown.
pub async fn query(config: &Config, names: &[String], requests: &[Request]) -> AppResult<Vec<Answer>> {
    let opened = open_for_reading(&config.engine.state).await;
    let allowances = opened.as_ref().ok().and_then(|state| state.allowances());
    let factory = StageFactory::new(CancellationToken::new(), EventSink::none()).with_allowances(allowances);
    let projects = searches(&factory, config, names)?;
    let searched = async {
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            answers.push(search(&projects, request).await?);
        }
        Ok::<_, StageError>(answers)
    };
    // The work trees are compared while the search runs.
    let compared = async {
        let state = opened?;
        let early = Early::start(&*state, &factory, config, names).await;
        Ok::<_, StageError>((state, early))
    };
    let (compared, answers) = tokio::join!(compared, searched);
    let mut answers = answers?;
    let of: BTreeSet<(String, String)> = answers.iter().flat_map(repositories).collect();
    let fresh = match compared {
        _ if of.is_empty() => Vec::new(),
        Ok((state, early)) => freshness(&*state, &factory, config, &of, Some(early)).await,
        Err(error) => {
            let why = format!("the ledger cannot be read: {}", error.one_line());
            of.iter().map(|(project, repository)| Freshness::unknown(project, repository, &why)).collect()
        }
    };
    for answer in &mut answers {
        let own = repositories(answer);
        let is_own = |one: &&Freshness| own.contains(&(one.project.clone(), one.repository.clone()));
        answer.repositories = fresh.iter().filter(is_own).cloned().collect();
    }
    Ok(answers)
}

/// These projects (all enabled ones if empty), as a search needs them.
pub fn searches(factory: &StageFactory, config: &Config, names: &[String]) -> AppResult<Vec<ProjectSearch>> {
    check_declared(config, names, &Access::default())?;
    Ok(factory.searches(config, names)?)
}

impl App {
    /// Searches these projects (all enabled ones if empty) together. One whose stages cannot be built is named in a
    /// note; if it was asked for by name, it is an error.
    pub async fn search(&self, names: &[String], request: &Request) -> AppResult<Answer> {
        self.check_names(names)?;
        let (projects, notes) = if let Some(built) = &self.built {
            built_searches(built, |name| self.is_chosen(names, name), names.is_empty())?
        } else {
            let names = names.to_vec();
            let work = move |factory: &StageFactory, config: &Config| factory.searches(config, &names);
            (self.off_executor(work).await??, Vec::new())
        };
        let request = self.narrowed(request);
        let (early, answer) = tokio::join!(self.compare_early(names), search(&projects, &request));
        let mut answer = answer?;
        answer.notes.extend(notes);
        Ok(self.with_freshness(answer, Some(early)).await)
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
        Ok(self.with_freshness(search(&projects, &self.narrowed(request)).await?, None).await)
    }

    /// The request, limited to the repositories that may be seen.
    fn narrowed(&self, request: &Request) -> Request {
        let mut request = request.clone();
        request.selection.access = Access::clone(&self.access);
        request
    }
}

/// The chosen projects. `all`: one whose stages cannot be built is named in a note instead of an error.
fn built_searches(
    built: &BuiltProjects,
    chosen: impl Fn(&String) -> bool,
    all: bool,
) -> StageResult<(Vec<ProjectSearch>, Vec<String>)> {
    let (mut projects, mut notes) = (Vec::new(), Vec::new());
    for (name, project) in built.iter().filter(|(name, _)| chosen(name)) {
        match project {
            Ok(project) => projects.push(ProjectSearch::from(&**project)),
            Err(error) if all => {
                notes.push(format!("project `{name}` is not searched: {}", error.one_line()));
            }
            Err(error) => return Err(error.clone()),
        }
    }
    Ok((projects, notes))
}
