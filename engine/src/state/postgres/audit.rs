//! The audit log.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::store::{PostgresState, attempt, text};
use crate::model::StageResult;
use crate::postgres::{Arg, Failure, Row, Transaction};
use crate::state::audit::{Audit, AuditEntry, AuditQuery, AuditRow, KEPT};

/// Appends an entry, and deletes entries that are too old or too many.
const APPEND: &str = "WITH new AS (
         INSERT INTO audit (at, who, what, projects, outcome, address) VALUES ($1, $2, $3, $4, $5, $6) RETURNING id)
     DELETE FROM audit USING new
     WHERE audit.id <= new.id - $7 OR audit.at < least($1, now()) - make_interval(secs => $8)";

#[async_trait]
impl Audit for PostgresState {
    async fn record_audit(&self, entries: &[AuditEntry], keep: Duration) -> StageResult<()> {
        attempt!(self, "record audit entries", self.begin_without_lease(), tx => {
            for entry in entries {
                append(&tx, entry, keep).await?;
            }
        })
    }

    async fn audit(&self, query: &AuditQuery) -> StageResult<Vec<AuditRow>> {
        let rows = self
            .rows(
                "read the audit log",
                "SELECT id, at, who, what, projects, outcome, address FROM audit
                 WHERE ($1 IS NULL OR id < $1) AND ($2 IS NULL OR at >= $2) AND ($3 IS NULL OR projects && $3)
                 ORDER BY id DESC LIMIT $4",
                &[
                    &query.before,
                    &query.since,
                    &query.projects,
                    &i64::try_from(query.limit).unwrap_or(i64::MAX),
                ],
            )
            .await?;
        Ok(rows.iter().map(entry).collect())
    }
}

async fn append(tx: &Transaction, entry: &AuditEntry, keep: Duration) -> Result<(), Failure> {
    let [who, what, outcome] = [&entry.who, &entry.what, &entry.outcome].map(|field| text(field));
    let projects: Vec<String> = entry.projects.iter().map(|name| text(name)).collect();
    let keep = keep.as_secs_f64();
    let args: [&dyn Arg; 8] = [&entry.at, &who, &what, &projects, &outcome, &entry.address, &KEPT, &keep];
    tx.run(APPEND, &args).await.map(drop)
}

fn entry(row: &Row) -> AuditRow {
    let at: DateTime<Utc> = row.get(1);
    AuditRow {
        id: row.get(0),
        entry: AuditEntry {
            at,
            who: row.get(2),
            what: row.get(3),
            projects: row.get(4),
            outcome: row.get(5),
            address: row.get(6),
        },
    }
}
