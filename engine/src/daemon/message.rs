//! What the dispatcher is told.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::handle::{Accepted, Refusal};
use super::pending::Pushed;
use super::reload::{Cause, ReloadOutcome};

/// A message to the dispatcher. All of them are quick to handle.
pub(super) enum Message {
    /// Run these projects (none: all enabled ones).
    Sync {
        project: Option<String>,
        full: bool,
        allow_deletes: bool,
        allow_cost: bool,
        answer: oneshot::Sender<Result<Accepted, Refusal>>,
    },
    /// A repository changed: run the projects that may have it.
    Changed { projects: Vec<String>, pushed: BTreeMap<String, Pushed> },
    /// Take up the file.
    Reload { cause: Cause, answer: Option<oneshot::Sender<ReloadOutcome>> },
}
