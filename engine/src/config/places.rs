//! Projects that share a place (store, index, namespace) must share the embedder's identity:
//! vectors of different models are not comparable.

use super::problem::Problem;
use super::stages::Stages;
use super::table::Table;
use super::{Project, StageKind};
use crate::model::parse_endpoint;

/// Reports the second of each two projects that disagree.
pub(super) fn check_shared(
    projects: &[(Project, Table<'_>)],
    stages: &Stages<'_>,
    problems: &mut Vec<Problem>,
) {
    let known = |(project, table): &(Project, Table<'_>)| {
        if !table.unresolved.is_empty() {
            return None;
        }
        let place = (place(stages.resolved(&project.store)?)?, project.namespace.clone());
        Some((place, model(stages.resolved(&project.embedder)?)?))
    };
    for (at, one) in projects.iter().enumerate() {
        let Some((place, model)) = known(one) else { continue };
        let other = projects[..at].iter().find(|other| {
            known(other)
                .is_some_and(|(other_place, other_model)| other_place == place && other_model != model)
        });
        if let Some((other, _)) = other {
            one.1.flag(
                problems,
                "pipeline",
                format!(
                    "shares the place of project `{}` (namespace `{}`), but not its embedding model",
                    other.name, place.1
                ),
                "give one of them another `namespace`, or let both use the same embedder",
            );
        }
    }
}

/// Where a store keeps its vectors; none where only the service can tell.
fn place(kind: &StageKind) -> Option<[String; 3]> {
    match kind {
        StageKind::Pinecone(settings) => Some(match &settings.host {
            Some(host) => ["host".into(), parse_endpoint(host).ok()?.into(), String::new()],
            // Index names are unique within what a key opens.
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
