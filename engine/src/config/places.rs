//! Checks that projects that share a place (store, index, namespace) share the embedder's identity,
//! since vectors of different models are not comparable.

use std::collections::HashMap;

use super::Project;
use super::stages::Stages;
use crate::settings::{Problem, Table};

/// Reports each project whose model differs from that of the first project with the same place.
pub(super) fn check_shared(
    projects: &[(Project, Table<'_>)],
    stages: &Stages<'_>,
    problems: &mut Vec<Problem>,
) {
    let mut first = HashMap::new();
    for (project, table) in projects.iter().filter(|(_, table)| table.unresolved.is_empty()) {
        let store = stages.resolved(&project.store).and_then(|stage| stage.store());
        let embedder = stages.resolved(&project.embedder).and_then(|stage| stage.embedder());
        let place = store.and_then(|store| Some((store.kind(), store.location()?)));
        let model = embedder.and_then(|embedder| Some((embedder.kind(), embedder.identity()?)));
        let (Some(place), Some(model)) = (place, model) else { continue };
        let (owner, owners_model) =
            first.entry((place, &project.namespace)).or_insert_with(|| (&project.name, model.clone()));
        if *owners_model != model {
            table.flag(
                problems,
                "pipeline",
                format!(
                    "shares the place of project `{owner}` (namespace `{}`), but not its embedding model",
                    project.namespace
                ),
                "give one of them another `namespace`, or let both use the same embedder",
            );
        }
    }
}
