//! Stored plans.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::store::{PostgresState, attempt, json, text};
use crate::model::StageResult;
use crate::postgres::Row;
use crate::state::plans::{KEPT_PLANS, PLAN_LIFE, PlanContent, PlanDecision, PlanStatus, Plans, StoredPlan};

const COLUMNS: &str =
    "id, project, created_at, created_by, summary::text, status, decided_at, decided_by, run";

#[async_trait]
impl Plans for PostgresState {
    async fn put_plan(&self, plan: &StoredPlan, content: PlanContent) -> StageResult<()> {
        let (life, by) = (PLAN_LIFE.as_seconds_f64(), text(&plan.created_by));
        attempt!(self, "keep the plan", self.begin_without_lease(), tx => {
            // It is there already if the answer to an attempt was lost.
            tx.run(
                "INSERT INTO plans (id, project, created_at, created_by, summary, status, shown, saved)
                 VALUES ($1, $2, $3, $4, $5::json, $6, $7, $8) ON CONFLICT DO NOTHING",
                &[
                    &plan.id,
                    &plan.project,
                    &plan.created_at,
                    &by,
                    &json(&plan.summary),
                    &plan.status.as_str(),
                    &content.shown,
                    &content.saved,
                ],
            )
            .await?;
            tx.run(
                "DELETE FROM plans WHERE created_at <= least($1, now()) - make_interval(secs => $3)
                     OR id NOT IN (SELECT id FROM plans ORDER BY created_at DESC, id DESC LIMIT $2)",
                &[&plan.created_at, &KEPT_PLANS, &life],
            )
            .await?;
        })
    }

    async fn plans(&self, now: DateTime<Utc>) -> StageResult<Vec<StoredPlan>> {
        let sql =
            format!("SELECT {COLUMNS} FROM plans WHERE created_at > $1 ORDER BY created_at DESC, id DESC");
        Ok(self.rows("read the plans", &sql, &[&(now - PLAN_LIFE)]).await?.iter().map(stored).collect())
    }

    async fn plan(&self, id: &str, now: DateTime<Utc>) -> StageResult<Option<StoredPlan>> {
        let sql = format!("SELECT {COLUMNS} FROM plans WHERE id = $1 AND created_at > $2");
        let id = text(id);
        Ok(self.rows("read the plan", &sql, &[&id, &(now - PLAN_LIFE)]).await?.first().map(stored))
    }

    async fn plan_content(&self, id: &str) -> StageResult<Option<PlanContent>> {
        let sql = "SELECT shown, saved FROM plans WHERE id = $1";
        let rows = self.rows("read the plan", sql, &[&text(id)]).await?;
        Ok(rows.first().map(|row| PlanContent { shown: row.get(0), saved: row.get(1) }))
    }

    async fn decide_plan(&self, id: &str, from: PlanStatus, decision: &PlanDecision) -> StageResult<bool> {
        let (id, by) = (text(id), text(&decision.by));
        let (status, at, run) = (decision.status.as_str(), decision.at, decision.run.as_deref());
        let rows = self
            .rows(
                "decide about the plan",
                "UPDATE plans SET status = $3, decided_at = $4, decided_by = $5, run = $6
                 WHERE id = $1 AND status = $2 RETURNING id",
                &[&id, &from.as_str(), &status, &at, &by, &run],
            )
            .await?;
        if !rows.is_empty() {
            return Ok(true);
        }
        // The answer to an earlier attempt may have been lost.
        let own = "SELECT id FROM plans WHERE id = $1 AND status = $2 AND run = $3";
        Ok(!self.rows("read the plan", own, &[&id, &status, &run]).await?.is_empty())
    }
}

fn stored(row: &Row) -> StoredPlan {
    StoredPlan {
        id: row.get(0),
        project: row.get(1),
        created_at: row.get(2),
        created_by: row.get(3),
        summary: serde_json::from_str(row.get(4)).unwrap_or_default(),
        status: PlanStatus::parse(row.get(5)),
        decided_at: row.get(6),
        decided_by: row.get(7),
        run: row.get(8),
    }
}
