//! Values into text: pure functions that take what happened and a [`Style`](super::output::Style)
//! and return what a person reads. Whatever comes from a repository or a service is escaped here.

pub(super) mod explain;
pub(super) mod findings;
pub(super) mod history;
pub(super) mod plan;
pub(super) mod progress;
pub(super) mod query;
pub(super) mod status;
pub(super) mod summary;
mod table;
pub(super) mod verify;
mod words;
