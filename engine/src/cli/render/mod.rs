//! Renders values as text: functions without I/O that take a value and a
//! [`Style`](super::output::Style). Text from repositories and services is escaped here.

pub(super) mod audit;
pub(super) mod eval;
pub(super) mod explain;
pub(super) mod findings;
pub(super) mod history;
pub(super) mod plan;
pub(super) mod progress;
pub(super) mod query;
pub(super) mod queue;
pub(super) mod status;
pub(super) mod summary;
mod table;
pub(super) mod verify;
mod words;
