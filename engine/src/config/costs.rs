//! Checks that `max_cost` is set only where the price of the embedder is known.

use super::problem::Problem;
use super::stages::Stages;
use super::table::Table;
use super::{Project, StageKind};

/// Reports every project with `max_cost` whose embedder has no price.
pub(super) fn check_costs(
    projects: &[(Project, Table<'_>)],
    stages: &Stages<'_>,
    problems: &mut Vec<Problem>,
) {
    for (project, table) in projects.iter().filter(|(project, _)| project.max_cost.is_some()) {
        let price = match stages.resolved(&project.embedder) {
            Some(StageKind::AzureOpenAi(settings)) => settings.price_per_million_tokens,
            Some(StageKind::OpenAi(settings)) => settings.price_per_million_tokens,
            // The local model is free, and problems of a stage are reported with the stage.
            _ => continue,
        };
        if price.is_none() {
            table.flag(
                problems,
                "max_cost",
                format!("the price of stage `{}` is not known", project.embedder),
                format!("add price_per_million_tokens to [stages.{}], such as 0.02", project.embedder),
            );
        }
    }
}
