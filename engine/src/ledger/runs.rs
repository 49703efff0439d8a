//! The history of runs.

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, Row, params};

use super::{Ledger, timestamp};
use crate::model::{Event, Report, StageResult};

/// So many runs are kept.
const KEPT_RUNS: i64 = 1000;
/// So many events of a run are kept: enough to see what went wrong, not a log.
const KEPT_EVENTS: usize = 200;

/// One run.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct RunRow {
    /// Its id.
    pub id: String,
    /// What started it.
    pub trigger: String,
    /// When it started (UTC, RFC 3339).
    pub started_at: String,
    /// When it ended; none: it runs still, or was killed.
    pub finished_at: Option<String>,
    /// How it ended, as [`crate::model::Outcome`] is written.
    pub outcome: Option<String>,
    /// Its report.
    pub report: Option<Report>,
}

impl Ledger {
    /// Enters a run that begins.
    pub fn start_run(&self, id: &str, trigger: &str, now: DateTime<Utc>) -> StageResult<()> {
        self.write("record the run", |tx| {
            tx.execute("INSERT INTO runs (id, trigger, started_at) VALUES (?1, ?2, ?3)", params![id, trigger, timestamp(now)])?;
            tx.execute(
                "DELETE FROM runs WHERE id NOT IN (SELECT id FROM runs ORDER BY started_at DESC, id DESC LIMIT ?1)",
                [KEPT_RUNS],
            )
            .map(drop)
        })
    }

    /// Records a run's end, with those of its events that tell of trouble.
    pub fn finish_run(
        &self,
        report: &Report,
        events: &[(DateTime<Utc>, Event)],
        now: DateTime<Utc>,
    ) -> StageResult<()> {
        let json = serde_json::to_string(report).unwrap_or_default();
        let outcome = serde_json::to_value(report.outcome).unwrap_or_default();
        self.write("record the run's end", |tx| {
            tx.execute(
                "UPDATE runs SET finished_at = ?2, outcome = ?3, report = ?4 WHERE id = ?1",
                params![report.run, timestamp(now), outcome.as_str(), json],
            )?;
            let mut last =
                tx.prepare_cached("INSERT OR REPLACE INTO last_runs VALUES (?1, ?2, ?3, ?4, ?5)")?;
            for part in &report.projects {
                let outcome = serde_json::to_value(part.outcome).unwrap_or_default();
                let failure = part.error.as_ref().or(part.failures.first()).map(|failure| &failure.error);
                last.execute(params![part.project, report.run, timestamp(now), outcome.as_str(), failure])?;
            }
            let mut insert =
                tx.prepare_cached("INSERT OR REPLACE INTO run_events VALUES (?1, ?2, ?3, ?4)")?;
            for (seq, (at, event)) in events.iter().take(KEPT_EVENTS).enumerate() {
                let event = serde_json::to_string(event).unwrap_or_default();
                insert.execute(params![report.run, seq, timestamp(*at), event])?;
            }
            Ok(())
        })
    }

    /// The newest runs, newest first.
    pub fn runs(&self, limit: usize) -> StageResult<Vec<RunRow>> {
        self.read("read the history", |conn| {
            conn.prepare_cached(
                "SELECT id, trigger, started_at, finished_at, outcome, report FROM runs ORDER BY started_at DESC, id DESC LIMIT ?1",
            )?
            .query_map([i64::try_from(limit).unwrap_or(i64::MAX)], run)?
            .collect()
        })
    }

    /// One run.
    pub fn run(&self, id: &str) -> StageResult<Option<RunRow>> {
        self.read("read a run", |conn| {
            conn.query_row(
                "SELECT id, trigger, started_at, finished_at, outcome, report FROM runs WHERE id = ?1",
                [id],
                run,
            )
            .optional()
        })
    }
}

fn run(row: &Row<'_>) -> rusqlite::Result<RunRow> {
    let report: Option<String> = row.get(5)?;
    Ok(RunRow {
        id: row.get(0)?,
        trigger: row.get(1)?,
        started_at: row.get(2)?,
        finished_at: row.get(3)?,
        outcome: row.get(4)?,
        report: report.and_then(|text| serde_json::from_str(&text).ok()),
    })
}
