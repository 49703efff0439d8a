//! The audit log.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::types::Type;
use rusqlite::{Connection, Row, named_params, params};

use super::rows::timestamp;
use super::store::SqliteState;
use crate::model::StageResult;
use crate::state::audit::{Audit, AuditEntry, AuditQuery, AuditRow, KEPT};

#[async_trait]
impl Audit for SqliteState {
    async fn record_audit(&self, entries: &[AuditEntry], keep: Duration) -> StageResult<()> {
        let entries = entries.to_vec();
        let append = move |conn: &Connection| entries.iter().try_for_each(|entry| append(conn, entry, keep));
        self.call(move |database| database.write("record audit entries", append)).await
    }

    async fn audit(&self, query: &AuditQuery) -> StageResult<Vec<AuditRow>> {
        let query = query.clone();
        self.read("read the audit log", move |conn| page(conn, &query)).await
    }
}

fn append(conn: &Connection, entry: &AuditEntry, keep: Duration) -> rusqlite::Result<()> {
    let projects = serde_json::to_string(&entry.projects).unwrap_or_default();
    conn.prepare_cached(
        "INSERT INTO audit (at, who, what, projects, outcome, address) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        timestamp(entry.at),
        entry.who,
        entry.what,
        projects,
        entry.outcome,
        entry.address
    ])?;
    let newest = conn.last_insert_rowid();
    conn.prepare_cached("DELETE FROM audit WHERE id <= ?1")?.execute([newest - KEPT])?;
    let oldest = TimeDelta::from_std(keep).ok().and_then(|keep| entry.at.checked_sub_signed(keep));
    if let Some(oldest) = oldest {
        conn.prepare_cached("DELETE FROM audit WHERE at < ?1 AND id <> ?2")?
            .execute(params![timestamp(oldest), newest])?;
    }
    Ok(())
}

fn page(conn: &Connection, query: &AuditQuery) -> rusqlite::Result<Vec<AuditRow>> {
    let projects = query.projects.as_ref().map(|names| serde_json::to_string(names).unwrap_or_default());
    conn.prepare_cached(
        "SELECT id, at, who, what, projects, outcome, address FROM audit
         WHERE id < coalesce(:before, id + 1) AND at >= coalesce(:since, at)
             AND (:projects IS NULL OR EXISTS (
                 SELECT 1 FROM json_each(audit.projects) AS named JOIN json_each(:projects) AS wanted
                     ON named.value = wanted.value))
         ORDER BY id DESC LIMIT :limit",
    )?
    .query_map(
        named_params! {
            ":before": query.before,
            ":since": query.since.map(timestamp),
            ":projects": projects,
            ":limit": i64::try_from(query.limit).unwrap_or(i64::MAX),
        },
        row,
    )?
    .collect()
}

fn row(row: &Row<'_>) -> rusqlite::Result<AuditRow> {
    let at: String = row.get(1)?;
    let damaged = |column, error: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error)
    };
    let at: DateTime<Utc> = at.parse().map_err(|error| damaged(1, Box::new(error)))?;
    let projects: String = row.get(4)?;
    let projects = serde_json::from_str(&projects).map_err(|error| damaged(4, Box::new(error)))?;
    Ok(AuditRow {
        id: row.get(0)?,
        entry: AuditEntry {
            at,
            who: row.get(2)?,
            what: row.get(3)?,
            projects,
            outcome: row.get(5)?,
            address: row.get(6)?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_cannot_be_changed() {
        let conn = Connection::open_in_memory().expect("opened");
        conn.execute_batch(include_str!("migrations/6.sql")).expect("the table");
        let entry = AuditEntry {
            at: Utc::now(),
            who: "api".into(),
            what: "POST /sync".into(),
            projects: Vec::new(),
            outcome: "202".into(),
            address: None,
        };
        append(&conn, &entry, Duration::from_secs(1)).expect("appended");
        let error = conn.execute("UPDATE audit SET who = 'x'", []).expect_err("refused");
        assert!(error.to_string().contains("append-only"), "{error}");
    }
}
