//! Explains why a file is in the index or not.

use super::{App, AppResult};
use crate::config;
use crate::factory;
use crate::model::{Explanation, ProjectExplanation};

impl App {
    /// Explains how files with a path are treated, from the configuration and what was recorded. `path` may begin
    /// with a repository: `REPOSITORY:PATH`. `names`: the projects; empty: all enabled ones.
    pub async fn explain(&self, names: &[String], path: String) -> AppResult<Explanation> {
        self.check_names(names)?;
        let mut projects = Vec::new();
        let visible = |project: &&config::Project| self.access.has_project(&project.name);
        for project in factory::chosen(&self.config, names).filter(visible) {
            let (mut sought, mut known) =
                (path.as_str(), self.state.explain_file(&project.name, None, &path).await?);
            // `REPOSITORY:PATH`, unless the colon is part of the path.
            if known.is_empty()
                && let Some((repository, rest)) = path.split_once(':')
                && !rest.is_empty()
            {
                (sought, known) =
                    (rest, self.state.explain_file(&project.name, Some(repository), rest).await?);
            }
            known.retain(|file| self.access.has_repository(&file.repository));
            let mut explained = ProjectExplanation {
                project: project.name.clone(),
                files: known,
                ..ProjectExplanation::default()
            };
            let own = project.clone();
            match self.off_executor(move |factory, config| factory.files(config, &own)).await? {
                Ok(files) => {
                    explained.left_out = files.left_out(sought);
                    explained.chunkers = files.chain(sought);
                }
                Err(error) => explained.error = Some(error.one_line()),
            }
            projects.push(explained);
        }
        Ok(Explanation { path, projects })
    }
}
