//! What the holder of a token sees of answers that are about several projects or repositories.

use crate::model::{
    Access, Event, Outcome, ProjectReport, ProjectStatus, Report, RepositoryState, StatusView, Withheld,
};
use crate::plan::{Plan, ProjectPlan};

/// Keeps what may be seen.
pub(crate) trait Narrow {
    /// Removes what may not be seen.
    fn narrow(&mut self, access: &Access);
}

impl Narrow for StatusView {
    fn narrow(&mut self, access: &Access) {
        if access.is_whole() {
            return;
        }
        self.projects.retain(|project| access.has_project(&project.project));
        for project in &mut self.projects {
            project.narrow(access);
            // A stage may serve other projects, too.
            project.waits.clear();
        }
        // These name places of projects that are gone, and what to restore.
        self.orphan_places.clear();
        self.refused_config = None;
    }
}

impl Narrow for ProjectStatus {
    fn narrow(&mut self, access: &Access) {
        if access.is_of_all_repositories() {
            return;
        }
        self.repositories.retain(|repository| access.has_repository(&repository.repository));
        let repositories = &self.repositories;
        let sum = |of: fn(&crate::model::RepositoryStatus) -> u64| repositories.iter().map(of).sum();
        self.files = sum(|repository| repository.files);
        self.vectors = sum(|repository| repository.vectors);
        self.failed_files = sum(|repository| repository.failed_files);
        let behind: Option<Vec<u64>> =
            repositories.iter().map(|repository| repository.commits_behind).collect();
        self.commits_behind = behind.map(|each| each.iter().sum::<u64>().min(crate::model::MOST_COMMITS));
        if repositories.iter().all(|repository| repository.state == RepositoryState::Current) {
            self.seconds_behind = Some(0);
        }
        if let Some(run) = &mut self.last_run {
            // These are one text for the whole project.
            run.error = None;
            run.withheld.clear();
        }
    }
}

impl Narrow for Report {
    fn narrow(&mut self, access: &Access) {
        if access.is_whole() {
            return;
        }
        self.projects.retain(|part| access.has_project(&part.project));
        self.projects.iter_mut().for_each(|part| part.narrow(access));
        self.outcome = self.projects.iter().map(|part| part.outcome).max().unwrap_or(Outcome::Done);
    }
}

impl Narrow for ProjectReport {
    fn narrow(&mut self, access: &Access) {
        if access.is_of_all_repositories() {
            return;
        }
        let sees = |name: &Option<String>| name.as_deref().is_none_or(|name| access.has_repository(name));
        self.failures.retain(|failure| failure.repository.is_some() && sees(&failure.repository));
        self.error = self.error.take().filter(|error| error.repository.is_some() && sees(&error.repository));
        self.notes.clear();
        for count in &mut self.skipped {
            count.examples.clear();
        }
        self.withheld.iter_mut().for_each(hide);
        // Measured over all repositories of the project.
        self.search_quality = None;
    }
}

impl Narrow for Plan {
    fn narrow(&mut self, access: &Access) {
        if access.is_whole() {
            return;
        }
        self.projects.retain(|part| access.has_project(&part.project));
        self.projects.iter_mut().for_each(|part| part.narrow(access));
    }
}

impl Narrow for ProjectPlan {
    fn narrow(&mut self, access: &Access) {
        if access.is_of_all_repositories() {
            return;
        }
        self.repositories.retain(|repository| access.has_repository(&repository.repository));
        let sees = |name: &Option<String>| name.as_deref().is_some_and(|name| access.has_repository(name));
        self.failures.retain(|failure| sees(&failure.repository));
        self.error = self.error.take().filter(|error| sees(&error.repository));
        self.notes.clear();
        self.secrets.retain(|found| access.has_repository(&found.repository));
        self.secrets_found = self.secrets.len() as u64;
        for count in &mut self.skipped {
            count.examples.clear();
        }
        self.guards.iter_mut().for_each(hide);
    }
}

/// What a guard withheld names files of any repository.
fn hide(withheld: &mut Withheld) {
    "see the project's report with a token for all of its repositories".clone_into(&mut withheld.message);
}

/// True if an event of a run may be seen.
pub(crate) fn sees_event(access: &Access, event: &Event) -> bool {
    match event {
        Event::ProjectStarted { project }
        | Event::ProjectFinished { project, .. }
        | Event::CacheHits { project, .. } => access.has_project(project),
        Event::RepositoryPlanned { project, repository, .. }
        | Event::RepositoryUnchanged { project, repository }
        | Event::FileIndexed { project, repository, .. }
        | Event::FileRemoved { project, repository, .. }
        | Event::FileSkipped { project, repository, .. }
        | Event::Failed { project, repository, .. } => {
            access.has_project(project) && access.has_repository(repository)
        }
        Event::Note { project, .. } => access.has_project(project) && access.is_of_all_repositories(),
        // A stage may serve other projects, too: its waits and calls are seen by whoever sees everything.
        Event::Waiting { .. } | Event::Call { .. } => access.is_whole(),
        Event::Expected { .. } | Event::Done { .. } => true,
    }
}
