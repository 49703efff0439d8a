//! `on`: when a notifier is called.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Outcome, ProjectReport};
use crate::settings::Checker;

/// When a notifier speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// A run changed the index.
    Changes,
    /// A run ended early or is missing something.
    Failure,
    /// Every run.
    Always,
}

pub(super) fn default_on() -> Vec<When> {
    vec![When::Changes, When::Failure]
}

/// An empty list would never call the notifier.
pub(super) fn check_on(check: &mut Checker<'_>, on: &[When]) {
    if on.is_empty() {
        check.flag("on", "must name at least one event", "or remove the stage from the pipeline");
    }
}

/// True when a notifier that speaks on `on` should hear of this.
pub fn wants(on: &[When], project: &ProjectReport) -> bool {
    let counts = &project.counts;
    let changed = counts.vectors_written + counts.vectors_deleted + counts.files_removed > 0;
    let failed = project.outcome != Outcome::Done;
    on.iter().any(|when| match when {
        When::Always => true,
        When::Changes => changed,
        When::Failure => failed,
    })
}
