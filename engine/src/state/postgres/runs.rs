//! The history of runs.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::repositories::timestamp;
use super::store::{PostgresState, json, read, text, write};
use super::usage::add_run;
use crate::model::{Event, Report, StageResult};
use crate::postgres::{Arg, Failure, Row, Transaction};
use crate::state::fence::Fence;
use crate::state::run::{History, KEPT_EVENTS, KEPT_RUNS, NewRun, RunQuery, RunRow, RunStatus};

const COLUMNS: &str = "id, request, project, trigger, started_at, finished_at, outcome, report::text";

#[async_trait]
impl History for PostgresState {
    async fn start_run(
        &self,
        fence: Fence,
        run: &NewRun,
        keep: Duration,
        now: DateTime<Utc>,
    ) -> StageResult<()> {
        write!(self, fence, "record the run", tx => {
            // It is there already if the answer to an attempt was lost.
            tx.run(
                "INSERT INTO runs (id, request, project, trigger, started_at) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT DO NOTHING",
                &[&run.id, &run.request, &run.project, &run.trigger, &now],
            )
            .await?;
            forget_old(&tx, run, keep, now).await?;
        })
    }

    async fn finish_run(
        &self,
        fence: Fence,
        report: &Report,
        events: Vec<(DateTime<Utc>, Event)>,
        now: DateTime<Utc>,
    ) -> StageResult<()> {
        write!(self, fence, "record the run's end", tx => finish(&tx, report, &events, now).await?)
    }

    async fn runs(&self, query: &RunQuery) -> StageResult<Option<Vec<RunRow>>> {
        read!(self, "read the history", tx => page(&tx, query).await?)
    }

    async fn runs_of(&self, ids: Vec<String>) -> StageResult<Vec<RunRow>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM unnest($1::text[]) WITH ORDINALITY AS wanted (wanted_id, n)
             JOIN runs ON id = wanted_id
                 OR request = wanted_id AND NOT EXISTS (SELECT 1 FROM runs AS own WHERE own.id = wanted_id)
             ORDER BY n, id"
        );
        Ok(self.rows("read runs", &sql, &[&ids]).await?.iter().map(run).collect())
    }

    async fn run_like(&self, prefix: &str) -> StageResult<Option<RunRow>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM runs WHERE starts_with(id, $1)
             ORDER BY id = $1 DESC, started_at DESC, id DESC LIMIT 1"
        );
        Ok(self.rows("read a run", &sql, &[&prefix]).await?.first().map(run))
    }
}

async fn finish(
    tx: &Transaction,
    report: &Report,
    events: &[(DateTime<Utc>, Event)],
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    add_run(tx, report, now).await?;
    let word = |outcome| serde_json::to_value(outcome).unwrap_or_default().as_str().map(str::to_owned);
    let sql = "UPDATE runs SET finished_at = $2, outcome = $3, report = $4::jsonb WHERE id = $1";
    tx.run(sql, &[&report.run, &now, &word(report.outcome), &json(report)]).await?;
    for part in &report.projects {
        let failure = part.error.as_ref().or(part.failures.first()).map(|failure| text(&failure.error));
        let outcome = word(part.outcome).unwrap_or_default();
        tx.run(
            "INSERT INTO last_runs VALUES ($1, $2, $3, $4, $5, $6::json)
             ON CONFLICT (project) DO UPDATE SET run_id = excluded.run_id, finished_at = excluded.finished_at,
                 outcome = excluded.outcome, error = excluded.error, withheld = excluded.withheld",
            &[&part.project, &report.run, &now, &outcome, &failure, &json(&part.withheld)],
        )
        .await?;
    }
    let kept = &events[..events.len().min(KEPT_EVENTS)];
    let times: Vec<String> = kept.iter().map(|(at, _)| timestamp(*at)).collect();
    let events: Vec<String> = kept.iter().map(|(_, event)| json(event)).collect();
    tx.run(
        "INSERT INTO run_events
         SELECT $1, n - 1, at::timestamptz, event::json
         FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS given (at, event, n)
         ON CONFLICT (run_id, seq) DO UPDATE SET at = excluded.at, event = excluded.event",
        &[&report.run, &times, &events],
    )
    .await
    .map(drop)
}

async fn page(tx: &Transaction, query: &RunQuery) -> Result<Option<Vec<RunRow>>, Failure> {
    if let Some(before) = &query.before
        && tx.row("SELECT 1 FROM runs WHERE id = $1", &[before]).await?.is_none()
    {
        return Ok(None);
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM runs
         WHERE ($1 IS NULL OR project = $1 OR project IS NULL
                 AND report -> 'projects' @> jsonb_build_array(jsonb_build_object('project', $1)))
             AND ($2 IS NULL OR (started_at, id) < (SELECT started_at, id FROM runs WHERE id = $2))
             AND ($4 IS NULL OR trigger = $4) AND ($5 IS NULL OR started_at >= $5)
             AND ($6 IS NULL OR $6 = CASE WHEN finished_at IS NOT NULL THEN outcome
                 WHEN id = ANY ($7) THEN 'running' ELSE 'interrupted' END)
         ORDER BY started_at DESC, id DESC LIMIT $3"
    );
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let status = query.status.map(RunStatus::as_str);
    let args: [&dyn Arg; 7] =
        [&query.project, &query.before, &limit, &query.trigger, &query.since, &status, &query.active];
    let rows = tx.rows(&sql, &args).await?;
    Ok(Some(rows.iter().map(run).collect()))
}

/// Deletes runs older than `keep`, except for the newest of each project, and those beyond the newest ones of the
/// project of the run that begins.
async fn forget_old(
    tx: &Transaction,
    begun: &NewRun,
    keep: Duration,
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    tx.run(
        "DELETE FROM runs WHERE started_at < least($1, now()) - make_interval(secs => $2) AND EXISTS (
             SELECT 1 FROM runs AS newer WHERE newer.project IS NOT DISTINCT FROM runs.project
                 AND (newer.started_at, newer.id) > (runs.started_at, runs.id))",
        &[&now, &keep.as_secs_f64()],
    )
    .await?;
    tx.run(
        "DELETE FROM runs WHERE id <> $3 AND id IN (
             SELECT id FROM runs WHERE project IS NOT DISTINCT FROM $1
             ORDER BY started_at DESC, id DESC OFFSET $2)",
        &[&begun.project, &KEPT_RUNS, &begun.id],
    )
    .await
    .map(drop)
}

fn run(row: &Row) -> RunRow {
    RunRow {
        id: row.get(0),
        request: row.get(1),
        project: row.get(2),
        trigger: row.get(3),
        started_at: timestamp(row.get(4)),
        finished_at: row.get::<_, Option<DateTime<Utc>>>(5).map(timestamp),
        outcome: row.get(6),
        report: row.get::<_, Option<&str>>(7).and_then(|text| serde_json::from_str(text).ok()),
    }
}
