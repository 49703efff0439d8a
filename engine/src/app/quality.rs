//! Whether the golden questions of a project still find their files after a run.

use super::App;
use crate::config::Project;
use crate::evaluate::{mean_reciprocal_rank, parse_questions};
use crate::model::{ErrorKind, Outcome, ProjectReport, SearchQuality, StageError, StageResult};
use crate::sync::{ProjectSearch, Review};

impl App {
    /// What a run does last: asks the golden questions, so that the result is part of the stored report.
    pub(super) fn review(&self) -> Review {
        let app = self.clone();
        Review::new(move |parts| {
            let app = app.clone();
            Box::pin(async move { app.ask_golden_questions(parts).await })
        })
    }

    /// Asks the golden questions of the projects with `golden` and `min_mrr` whose index the run changed. Each
    /// question costs one embedding.
    async fn ask_golden_questions(&self, parts: &mut [ProjectReport]) {
        for part in parts.iter_mut().filter(|part| has_changed(part)) {
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
            part.search_quality = Some(SearchQuality { questions, mrr, min_mrr, below, error });
        }
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
            StageError::new("engine", ErrorKind::Bug, format!("project `{name}` has no search"))
        })
    }
}

fn has_changed(part: &ProjectReport) -> bool {
    let ended = matches!(part.outcome, Outcome::Done | Outcome::Partial);
    ended && part.counts.vectors_written + part.counts.vectors_deleted > 0
}
