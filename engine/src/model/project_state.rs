//! The state of a project in one word, the same in `status`, the API and the page.

use serde::Serialize;

use super::{Outcome, ProjectStatus};

/// The state of a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProjectState {
    /// It is in the ledger but no longer in the file.
    Orphan,
    /// The file disables it.
    Disabled,
    /// A run of it is in progress.
    Running,
    /// It has not been run yet.
    NeverRun,
    /// Its last run failed.
    Failed,
    /// Its last run left something out: a file failed, or a guard withheld work.
    Partial,
    /// A repository is not indexed at its last seen head.
    Behind,
    /// Every repository is indexed at its last seen head.
    Current,
}

impl ProjectState {
    /// The state of a project whose last run had this outcome.
    pub fn of(project: &ProjectStatus, outcome: Option<Outcome>, is_running: bool) -> Self {
        match outcome {
            _ if !project.declared => Self::Orphan,
            _ if !project.enabled => Self::Disabled,
            _ if is_running => Self::Running,
            None => Self::NeverRun,
            Some(Outcome::Failed) => Self::Failed,
            Some(Outcome::Partial) => Self::Partial,
            Some(Outcome::Done) if project.is_current() => Self::Current,
            Some(Outcome::Done | Outcome::Interrupted) => Self::Behind,
        }
    }

    /// The word in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Orphan => "orphan",
            Self::Disabled => "disabled",
            Self::Running => "running",
            Self::NeverRun => "never run",
            Self::Failed => "failed",
            Self::Partial => "partial",
            Self::Behind => "behind",
            Self::Current => "current",
        }
    }
}
