//! The history of runs.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};

use super::rows::timestamp;
use super::store::SqliteState;
use super::usage;
use crate::model::{Event, Report, StageResult};
use crate::state::fence::Fence;
use crate::state::run::{History, KEPT_EVENTS, KEPT_RUNS, NewRun, RunQuery, RunRow, RunStatus};
use crate::state::usage::amounts_of;

const COLUMNS: &str = "id, request, project, trigger, started_at, finished_at, outcome, report";

#[async_trait]
impl History for SqliteState {
    async fn start_run(
        &self,
        fence: Fence,
        run: &NewRun,
        keep: Duration,
        now: DateTime<Utc>,
    ) -> StageResult<()> {
        let run = run.clone();
        self.write(fence, "record the run", move |conn| {
            conn.execute(
                "INSERT INTO runs (id, request, project, trigger, started_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![run.id, run.request, run.project, run.trigger, timestamp(now)],
            )?;
            forget_old(conn, &run, keep, now)
        })
        .await
    }

    async fn finish_run(
        &self,
        fence: Fence,
        report: &Report,
        events: Vec<(DateTime<Utc>, Event)>,
        now: DateTime<Utc>,
    ) -> StageResult<()> {
        let report = report.clone();
        self.write(fence, "record the run's end", move |conn| finish(conn, &report, &events, now)).await
    }

    async fn runs(&self, query: &RunQuery) -> StageResult<Option<Vec<RunRow>>> {
        let query = query.clone();
        self.read("read the history", move |conn| page(conn, &query)).await
    }

    async fn runs_of(&self, ids: Vec<String>) -> StageResult<Vec<RunRow>> {
        self.read("read runs", move |conn| {
            let mut one = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM runs WHERE id = ?1"))?;
            let mut of_request =
                conn.prepare_cached(&format!("SELECT {COLUMNS} FROM runs WHERE request = ?1 ORDER BY id"))?;
            let mut found = Vec::new();
            for id in ids {
                match one.query_row([&id], run).optional()? {
                    Some(row) => found.push(row),
                    None => found.extend(of_request.query_map([&id], run)?.collect::<Result<Vec<_>, _>>()?),
                }
            }
            Ok(found)
        })
        .await
    }

    async fn run_like(&self, prefix: &str) -> StageResult<Option<RunRow>> {
        let prefix = prefix.to_owned();
        self.read("read a run", move |conn| {
            conn.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM runs WHERE id >= ?1 AND id < ?1 || char(0x10ffff)
                 ORDER BY id = ?1 DESC, started_at DESC, id DESC LIMIT 1"
            ))?
            .query_row([prefix], run)
            .optional()
        })
        .await
    }
}

fn finish(
    conn: &Connection,
    report: &Report,
    events: &[(DateTime<Utc>, Event)],
    now: DateTime<Utc>,
) -> rusqlite::Result<()> {
    let is_open = "SELECT 1 FROM runs WHERE id = ?1 AND finished_at IS NULL";
    if conn.prepare_cached(is_open)?.exists([&report.run])? {
        usage::add(conn, &amounts_of(report, now), now)?;
    }
    let json = serde_json::to_string(report).unwrap_or_default();
    let outcome = serde_json::to_value(report.outcome).unwrap_or_default();
    conn.execute(
        "UPDATE runs SET finished_at = ?2, outcome = ?3, report = ?4 WHERE id = ?1",
        params![report.run, timestamp(now), outcome.as_str(), json],
    )?;
    let mut last = conn.prepare_cached("INSERT OR REPLACE INTO last_runs VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for part in &report.projects {
        let outcome = serde_json::to_value(part.outcome).unwrap_or_default();
        let failure = part.error.as_ref().or(part.failures.first()).map(|failure| &failure.error);
        let withheld = serde_json::to_string(&part.withheld).unwrap_or_default();
        last.execute(params![part.project, report.run, timestamp(now), outcome.as_str(), failure, withheld])?;
    }
    let mut insert = conn.prepare_cached("INSERT OR REPLACE INTO run_events VALUES (?1, ?2, ?3, ?4)")?;
    for (seq, (at, event)) in events.iter().take(KEPT_EVENTS).enumerate() {
        let event = serde_json::to_string(event).unwrap_or_default();
        insert.execute(params![report.run, seq, timestamp(*at), event])?;
    }
    Ok(())
}

fn page(conn: &Connection, query: &RunQuery) -> rusqlite::Result<Option<Vec<RunRow>>> {
    if let Some(before) = &query.before
        && !conn.prepare_cached("SELECT 1 FROM runs WHERE id = ?1")?.exists([before])?
    {
        return Ok(None);
    }
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM runs
         WHERE (:project IS NULL OR project = :project OR project IS NULL AND EXISTS (
                 SELECT 1 FROM json_each(report, '$.projects') WHERE value ->> 'project' = :project))
             AND (:before IS NULL
                 OR (started_at, id) < (SELECT started_at, id FROM runs WHERE id = :before))
             AND (:trigger IS NULL OR trigger = :trigger)
             AND (:since IS NULL OR started_at >= :since)
             AND (:status IS NULL OR :status = CASE WHEN finished_at IS NOT NULL THEN outcome
                 WHEN id IN (SELECT value FROM json_each(:active)) THEN 'running' ELSE 'interrupted' END)
         ORDER BY started_at DESC, id DESC LIMIT :limit"
    ))?
    .query_map(
        named_params! {
            ":project": query.project,
            ":before": query.before,
            ":trigger": query.trigger,
            ":since": query.since.map(timestamp),
            ":status": query.status.map(RunStatus::as_str),
            ":active": serde_json::to_string(&query.active).unwrap_or_default(),
            ":limit": i64::try_from(query.limit).unwrap_or(i64::MAX),
        },
        run,
    )?
    .collect::<Result<_, _>>()
    .map(Some)
}

/// Deletes runs by age, and those of the project of `begun` by number. Runs over several projects
/// count as the runs of one. `begun` itself stays, also where the clock was set back.
fn forget_old(conn: &Connection, begun: &NewRun, keep: Duration, now: DateTime<Utc>) -> rusqlite::Result<()> {
    let oldest = TimeDelta::from_std(keep).ok().and_then(|keep| now.checked_sub_signed(keep));
    if let Some(oldest) = oldest {
        conn.prepare_cached(
            "DELETE FROM runs WHERE started_at < ?1 AND EXISTS (
                 SELECT 1 FROM runs AS newer WHERE newer.project IS runs.project
                     AND (newer.started_at, newer.id) > (runs.started_at, runs.id))",
        )?
        .execute([timestamp(oldest)])?;
    }
    conn.prepare_cached(
        "DELETE FROM runs WHERE id <> ?3 AND id IN (
             SELECT id FROM runs WHERE project IS ?1 ORDER BY started_at DESC, id DESC LIMIT -1 OFFSET ?2)",
    )?
    .execute(params![begun.project, KEPT_RUNS, begun.id])
    .map(drop)
}

fn run(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    let report: Option<String> = row.get(7)?;
    let id: String = row.get(0)?;
    Ok(RunRow {
        request: row.get::<_, Option<String>>(1)?.unwrap_or_else(|| id.clone()),
        id,
        project: row.get(2)?,
        trigger: row.get(3)?,
        started_at: row.get(4)?,
        finished_at: row.get(5)?,
        outcome: row.get(6)?,
        report: report.and_then(|text| serde_json::from_str(&text).ok()),
    })
}
