//! Taking up the file: why, and what came of it.

use serde::Serialize;

use super::generation::{Next, Refused};
use crate::config::{Problem, ProjectChange};

/// Why the file is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The daemon started: the file may have been saved since it was read.
    Start,
    /// The file or a component was saved.
    Files,
    /// SIGHUP.
    Signal,
    /// `POST /reload`, which `reposync reload` sends.
    Api,
    /// What was refused may have been mended where nobody watches.
    Retry,
}

impl Cause {
    /// True where somebody did something and wants to see what came of it.
    pub(super) fn is_asked_for(self) -> bool {
        !matches!(self, Self::Start | Self::Retry)
    }
}

/// What came of a reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReloadOutcome {
    /// `applied`, `unchanged` or `refused`.
    pub outcome: &'static str,
    /// In one line.
    pub message: String,
    /// What is wrong with the file, where it was refused for that.
    pub problems: Vec<Problem>,
    /// Keys that only a restart takes up.
    pub restart: Vec<&'static str>,
}

impl ReloadOutcome {
    pub(super) fn refused(refused: &Refused) -> Self {
        Self {
            outcome: "refused",
            message: refused.message.clone(),
            problems: refused.problems.clone(),
            restart: Vec::new(),
        }
    }

    /// What a generation that was built will do.
    pub(super) fn of(next: &Next) -> Self {
        let restart = next.diff.restart.clone();
        let mut parts = Vec::new();
        for project in &next.diff.projects {
            let what = match &project.change {
                ProjectChange::Added => "added".to_owned(),
                ProjectChange::Removed => "removed from the file".to_owned(),
                ProjectChange::Enabled => "enabled".to_owned(),
                ProjectChange::Disabled => "disabled".to_owned(),
                change @ ProjectChange::Changed(parts) => {
                    let parts: Vec<String> =
                        parts.iter().map(|part| format!("{part:?}").to_lowercase()).collect();
                    let how = if change.replans() { "planned anew" } else { "taken up" };
                    format!("{how} ({})", parts.join(", "))
                }
            };
            parts.push(format!("`{}` {what}", project.name));
        }
        parts.extend(next.components.iter().map(|name| format!("`{name}` planned anew (component)")));
        parts.extend(next.diff.live.iter().map(|key| format!("`{key}` taken up")));
        let outcome =
            if parts.is_empty() && next.diff.rebuilt_stages.is_empty() { "unchanged" } else { "applied" };
        if !restart.is_empty() {
            let verb = if restart.len() == 1 { "needs" } else { "need" };
            parts.push(format!("`{}` {verb} a restart", restart.join("`, `")));
        }
        if parts.is_empty() {
            parts.push("nothing differs".to_owned());
        }
        Self { outcome, message: parts.join("; "), problems: Vec::new(), restart }
    }
}
