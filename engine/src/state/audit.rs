//! The audit log: who asked for what, and how it was answered. Append-only.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::model::StageResult;

/// Maximum number of entries kept, whatever their age: a flood of requests must not fill the disk.
pub(super) const KEPT: i64 = 100_000;

/// The audit log.
#[async_trait]
pub trait Audit {
    /// Appends entries in their order, and deletes those that are older than `keep` and those beyond the newest 100,000.
    /// Needs no lease: refused requests are recorded as well, also while another process has the lease.
    async fn record_audit(&self, entries: &[AuditEntry], keep: Duration) -> StageResult<()>;

    /// A page of the log, newest entry first.
    async fn audit(&self, query: &AuditQuery) -> StageResult<Vec<AuditRow>>;
}

/// One action that somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct AuditEntry {
    /// When (UTC).
    #[schema(value_type = String, format = DateTime)]
    pub at: DateTime<Utc>,
    /// The name of an API token, `api` (`[api] token`), `local` (the token that the daemon generated), `user:NAME` (a
    /// command), `schedule`, `webhook`, `edit` (of the file), or `unknown` (a token that was refused).
    pub who: String,
    /// The action: method and route of a request, or a command.
    pub what: String,
    /// The projects that it names; empty if it names none.
    pub projects: Vec<String>,
    /// The status of the HTTP response, or the outcome of a run.
    pub outcome: String,
    /// The IP address of the client; `None`: this machine, without the API.
    pub address: Option<String>,
}

/// An entry with its number, which grows with each entry.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct AuditRow {
    /// Its number.
    pub id: i64,
    /// The entry.
    #[serde(flatten)]
    pub entry: AuditEntry,
}

/// Which part of the audit log to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Maximum number of entries.
    pub limit: usize,
    /// Only entries older than the one with this number: the next page.
    pub before: Option<i64>,
    /// Only entries since this moment, inclusive.
    pub since: Option<DateTime<Utc>>,
    /// Only entries that name one of these projects; `None`: all entries.
    pub projects: Option<Vec<String>>,
}
