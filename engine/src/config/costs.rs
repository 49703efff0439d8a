//! Checks that `max_cost` is set only where the price of the embedder is known.

use super::Project;
use super::stages::Stages;
use crate::settings::{Problem, Table};

/// Reports every project with `max_cost` whose embedder has no price.
pub(super) fn check_costs(
    projects: &[(Project, Table<'_>)],
    stages: &Stages<'_>,
    problems: &mut Vec<Problem>,
) {
    for (project, table) in projects.iter().filter(|(project, _)| project.max_cost.is_some()) {
        let embedder = stages.resolved(&project.embedder).and_then(|stage| stage.embedder());
        // Problems of a stage are reported with the stage.
        if embedder.is_some_and(|embedder| embedder.price().is_none()) {
            table.flag(
                problems,
                "max_cost",
                format!("the price of stage `{}` is not known", project.embedder),
                format!("add price_per_million_tokens to [stages.{}], such as 0.02", project.embedder),
            );
        }
    }
}
