//! Whether the golden questions of a project still find their files after a run.

use serde::Serialize;

use super::App;
use crate::config::Project;
use crate::evaluate::{mean_reciprocal_rank, parse_questions};
use crate::model::{Outcome, ProjectReport, Report, StageResult};
use crate::sync::ProjectSearch;

/// How well the golden questions of a project find their files.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SearchQuality {
    /// The project.
    pub project: String,
    /// The number of questions.
    pub questions: usize,
    /// The mean reciprocal rank; `None` if it could not be measured.
    pub mrr: Option<f64>,
    /// `min_mrr` of the project.
    pub min_mrr: f64,
    /// True if the mean reciprocal rank is lower than `min_mrr`.
    pub below: bool,
    /// Why it could not be measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl SearchQuality {
    /// What a person has to know; `None` if all is well.
    pub fn message(&self) -> Option<String> {
        let project = &self.project;
        match (self.mrr, &self.error) {
            (_, Some(error)) => Some(format!("`{project}`: the golden questions were not asked: {error}")),
            (Some(mrr), None) if self.below => Some(format!(
                "`{project}`: the golden questions find less: MRR {mrr:.3} is below `min_mrr` {}; \
                 `reposync eval --project {project}` shows which",
                self.min_mrr
            )),
            _ => None,
        }
    }
}

impl App {
    /// Asks the golden questions of the projects with `golden` and `min_mrr` whose index a run changed. Each
    /// question costs one embedding.
    pub async fn search_quality(&self, report: &Report) -> Vec<SearchQuality> {
        let mut all = Vec::new();
        for part in report.projects.iter().filter(|part| has_changed(part)) {
            let Some(project) = self.config.project(&part.project) else { continue };
            let (Some(golden), Some(min_mrr)) = (&project.golden, project.min_mrr) else { continue };
            let (questions, measured) = match tokio::fs::read_to_string(golden).await {
                Ok(text) => self.measure(project, &text).await,
                Err(error) => (0, Err(format!("cannot read `{}`: {error}", golden.display()))),
            };
            let below = measured.as_ref().is_ok_and(|mrr| *mrr < min_mrr);
            let (mrr, error) = match measured {
                Ok(mrr) => (Some(mrr), None),
                Err(error) => (None, Some(error)),
            };
            all.push(SearchQuality { project: project.name.clone(), questions, mrr, min_mrr, below, error });
        }
        all
    }

    async fn measure(&self, project: &Project, text: &str) -> (usize, Result<f64, String>) {
        let questions = match parse_questions(text) {
            Ok(questions) => questions,
            Err(why) => return (0, Err(why)),
        };
        let measured = async {
            let searched = self.search_of(&project.name).await?;
            mean_reciprocal_rank(&[searched], &questions).await
        };
        (questions.len(), measured.await.map_err(|error| error.one_line()))
    }

    async fn search_of(&self, name: &str) -> StageResult<ProjectSearch> {
        if let Some(project) = self.built.as_ref().and_then(|built| built.get(name)) {
            return project.as_ref().map(|project| ProjectSearch::from(&**project)).map_err(Clone::clone);
        }
        let names = vec![name.to_owned()];
        let searches = self.off_executor(move |factory, config| factory.searches(config, &names)).await??;
        searches.into_iter().next().ok_or_else(|| {
            crate::model::StageError::misconfigured("engine", format!("there is no project `{name}`"))
        })
    }
}

fn has_changed(part: &ProjectReport) -> bool {
    let ended = matches!(part.outcome, Outcome::Done | Outcome::Partial);
    ended && part.counts.vectors_written + part.counts.vectors_deleted > 0
}
