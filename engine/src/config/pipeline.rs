//! Splits a project's pipeline by role: one source, one or more chunkers, one embedder, one store,
//! any number of notifiers, in this order.

use super::stages::Stages;
use crate::registry::KINDS;
use crate::settings::{Problem, Table, did_you_mean, list};
use crate::stage::Role;

/// The names of stages by role.
#[derive(Default)]
pub(super) struct Pipeline {
    pub(super) source: String,
    pub(super) chunkers: Vec<String>,
    pub(super) embedder: String,
    pub(super) store: String,
    pub(super) notifiers: Vec<String>,
}

/// Reads a project's `pipeline`.
pub(super) fn split(table: &Table<'_>, stages: &Stages<'_>, problems: &mut Vec<Problem>) -> Pipeline {
    let mut pipeline = Pipeline::default();
    let mut flag =
        |span, message: String, hint: String| table.flag_at(problems, "pipeline", span, message, hint);
    let mut seen: Vec<(&str, Role)> = Vec::new();
    let mut all_known = table.sound(&["pipeline"]);
    for (span, name) in table.texts("pipeline") {
        let Some(stage) = stages.get(name) else {
            all_known = false;
            let names: Vec<&str> = stages.names().collect();
            let hint = did_you_mean(name, names.iter().copied()).unwrap_or_else(|| match names.len() {
                0 => "the file defines no stages".to_owned(),
                _ => format!("the stages are {}", list(&names)),
            });
            let shown =
                if table.replaced_at(&span) { "like this value".to_owned() } else { format!("`{name}`") };
            flag(span, format!("no stage is named {shown}"), hint);
            continue;
        };
        let Some(role) = stage.role else {
            all_known = false;
            continue;
        };
        if seen.iter().any(|(other, _)| *other == name) {
            flag(span, format!("`{name}` is listed twice"), "leave one out".into());
            continue;
        }
        let single = matches!(role, Role::Source | Role::Embedder | Role::Store);
        if single && let Some((other, _)) = seen.iter().find(|(_, other)| *other == role) {
            let hint = "use it in a second project".into();
            flag(span, format!("`{name}` is {} like `{other}`; a pipeline has only one", role.one()), hint);
        } else if let Some((other, later)) = seen.iter().rev().find(|(_, other)| *other > role) {
            let message = format!("`{name}`, {}, comes after `{other}`, {}", role.one(), later.one());
            flag(span, message, "the order is source, chunkers, embedder, store, notifiers".into());
        }
        seen.push((name, role));
        let name = name.to_owned();
        match role {
            Role::Source => pipeline.source = name,
            Role::Chunker => pipeline.chunkers.push(name),
            Role::Embedder => pipeline.embedder = name,
            Role::Store => pipeline.store = name,
            Role::Notifier => pipeline.notifiers.push(name),
        }
    }
    if all_known {
        for role in [Role::Source, Role::Chunker, Role::Embedder, Role::Store] {
            if !seen.iter().any(|(_, other)| *other == role) {
                flag(table.span("pipeline"), format!("has no {}", noun(role)), how_to_add(role, stages));
            }
        }
    }
    pipeline
}

fn noun(role: Role) -> &'static str {
    role.one().split_once(' ').map_or("", |(_, noun)| noun)
}

fn how_to_add(role: Role, stages: &Stages<'_>) -> String {
    let declared: Vec<&str> = stages.of_role(role).collect();
    if declared.is_empty() {
        let kinds: Vec<&str> = KINDS.iter().filter(|kind| kind.role == role).map(|kind| kind.name).collect();
        format!("declare a stage of one of the kinds {}, and name it here", list(&kinds))
    } else {
        format!("{} declared: {}", if declared.len() == 1 { "one is" } else { "these are" }, list(&declared))
    }
}
