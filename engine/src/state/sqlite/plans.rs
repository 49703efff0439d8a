//! Stored plans.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::rows::{parse_time, timestamp};
use super::store::SqliteState;
use crate::model::StageResult;
use crate::state::plans::{KEPT_PLANS, PLAN_LIFE, PlanContent, PlanDecision, PlanStatus, Plans, StoredPlan};

const COLUMNS: &str = "id, project, created_at, created_by, summary, status, decided_at, decided_by, run";

#[async_trait]
impl Plans for SqliteState {
    async fn put_plan(&self, plan: &StoredPlan, content: PlanContent) -> StageResult<()> {
        let plan = plan.clone();
        let put = move |conn: &Connection| put(conn, &plan, &content);
        self.call(move |database| database.write("keep the plan", put)).await
    }

    async fn plans(&self, now: DateTime<Utc>) -> StageResult<Vec<StoredPlan>> {
        self.read("read the plans", move |conn| {
            conn.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM plans WHERE created_at > ?1 ORDER BY created_at DESC, id DESC"
            ))?
            .query_map([timestamp(now - PLAN_LIFE)], row)?
            .collect()
        })
        .await
    }

    async fn plan(&self, id: &str, now: DateTime<Utc>) -> StageResult<Option<StoredPlan>> {
        let id = id.to_owned();
        self.read("read the plan", move |conn| {
            conn.prepare_cached(&format!("SELECT {COLUMNS} FROM plans WHERE id = ?1 AND created_at > ?2"))?
                .query_row([id, timestamp(now - PLAN_LIFE)], row)
                .optional()
        })
        .await
    }

    async fn plan_content(&self, id: &str) -> StageResult<Option<PlanContent>> {
        let id = id.to_owned();
        self.read("read the plan", move |conn| {
            conn.prepare_cached("SELECT shown, saved FROM plans WHERE id = ?1")?
                .query_row([id], |row| Ok(PlanContent { shown: row.get(0)?, saved: row.get(1)? }))
                .optional()
        })
        .await
    }

    async fn decide_plan(&self, id: &str, from: PlanStatus, decision: &PlanDecision) -> StageResult<bool> {
        let (id, decision) = (id.to_owned(), decision.clone());
        let decide = move |conn: &Connection| {
            let PlanDecision { status, at, by, run } = &decision;
            let changed = conn
                .prepare_cached(
                    "UPDATE plans SET status = ?3, decided_at = ?4, decided_by = ?5, run = ?6
                     WHERE id = ?1 AND status = ?2",
                )?
                .execute(params![id, from.as_str(), status.as_str(), timestamp(*at), by, run])?;
            Ok(changed == 1)
        };
        self.call(move |database| database.write("decide about the plan", decide)).await
    }
}

fn put(conn: &Connection, plan: &StoredPlan, content: &PlanContent) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO plans (id, project, created_at, created_by, summary, status, shown, saved)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        plan.id,
        plan.project,
        timestamp(plan.created_at),
        plan.created_by,
        plan.summary.to_string(),
        plan.status.as_str(),
        content.shown,
        content.saved
    ])?;
    conn.prepare_cached(
        "DELETE FROM plans WHERE created_at <= ?1
             OR id NOT IN (SELECT id FROM plans ORDER BY created_at DESC, id DESC LIMIT ?2)",
    )?
    .execute(params![timestamp(plan.created_at - PLAN_LIFE), KEPT_PLANS])
    .map(drop)
}

fn row(row: &Row<'_>) -> rusqlite::Result<StoredPlan> {
    let damaged = |column, error: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error)
    };
    let (created_at, summary): (String, String) = (row.get(2)?, row.get(4)?);
    Ok(StoredPlan {
        id: row.get(0)?,
        project: row.get(1)?,
        created_at: created_at.parse().map_err(|error: chrono::ParseError| damaged(2, error.into()))?,
        created_by: row.get(3)?,
        summary: serde_json::from_str(&summary).map_err(|error| damaged(4, error.into()))?,
        status: PlanStatus::parse(&row.get::<_, String>(5)?),
        decided_at: parse_time(row.get(6)?),
        decided_by: row.get(7)?,
        run: row.get(8)?,
    })
}
