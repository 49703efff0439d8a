//! Checks that projects that share a place (store, index, namespace) share the embedder's identity,
//! since vectors of different models are not comparable.

use std::collections::HashMap;

use super::problem::Problem;
use super::stages::Stages;
use super::table::Table;
use super::{Project, StageKind};
use crate::model::parse_endpoint;

/// Reports each project whose model differs from that of the first project with the same place.
pub(super) fn check_shared(
    projects: &[(Project, Table<'_>)],
    stages: &Stages<'_>,
    problems: &mut Vec<Problem>,
) {
    let mut first = HashMap::new();
    for (project, table) in projects.iter().filter(|(_, table)| table.unresolved.is_empty()) {
        let place = stages.resolved(&project.store).and_then(place);
        let model = stages.resolved(&project.embedder).and_then(model);
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

/// The location of a store's vectors; `None` if it is known only to the service.
fn place(kind: &StageKind) -> Option<[String; 3]> {
    match kind {
        StageKind::Pinecone(settings) => Some(match &settings.host {
            Some(host) => ["host".into(), parse_endpoint(host).ok()?.into(), String::new()],
            // An index name is unique within the account of an API key.
            None => [
                parse_endpoint(&settings.api_url).ok()?.into(),
                settings.index.clone(),
                settings.api_key.expose().to_owned(),
            ],
        }),
        StageKind::Sqlite(settings) => {
            Some(["file".into(), settings.path.to_string_lossy().into_owned(), String::new()])
        }
        _ => None,
    }
}

/// What makes vectors comparable: kind, endpoint, deployment or model, dimensions.
fn model(kind: &StageKind) -> Option<[String; 4]> {
    let dimensions = |n: Option<u32>| n.map_or_else(String::new, |n| n.to_string());
    Some(match kind {
        StageKind::AzureOpenAi(settings) => [
            kind.name().into(),
            parse_endpoint(&settings.endpoint).ok()?.into(),
            settings.deployment.clone(),
            dimensions(settings.dimensions),
        ],
        StageKind::OpenAi(settings) => [
            kind.name().into(),
            parse_endpoint(&settings.base_url).ok()?.into(),
            settings.model.clone(),
            dimensions(settings.dimensions),
        ],
        StageKind::Local(settings) => {
            let path =
                settings.path.as_ref().map_or_else(String::new, |path| path.to_string_lossy().into_owned());
            [kind.name().into(), path, String::new(), String::new()]
        }
        _ => return None,
    })
}
