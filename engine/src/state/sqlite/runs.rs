//! The history of runs.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, named_params, params};

use super::{SqliteState, timestamp};
use crate::model::{Event, Report, StageResult};
use crate::state::run::{NewRun, RunQuery, RunRow};

/// Maximum number of runs kept of one project, whatever their age: a project that runs on every push
/// must not fill the disk.
const KEPT_RUNS: i64 = 1000;
/// Maximum number of events kept of one run: enough to see what went wrong, not a log.
const KEPT_EVENTS: usize = 200;

const COLUMNS: &str = "id, request, project, trigger, started_at, finished_at, outcome, report";

impl SqliteState {
    /// Records a run that begins, and deletes old runs: those older than `keep`, but for the newest of
    /// each project, and those beyond the newest 1,000 of this project.
    pub fn start_run(&self, run: &NewRun, keep: Duration, now: DateTime<Utc>) -> StageResult<()> {
        self.write("record the run", |tx| {
            tx.execute(
                "INSERT INTO runs (id, request, project, trigger, started_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![run.id, run.request, run.project, run.trigger, timestamp(now)],
            )?;
            forget_old(tx, run, keep, now)
        })
    }

    /// Records a run's end, with those of its events that report problems.
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
                let failure = failure.or(part.withheld.first().map(|withheld| &withheld.message));
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

    /// A page of the history, newest run first.
    pub fn runs(&self, query: &RunQuery) -> StageResult<Vec<RunRow>> {
        self.read("read the history", |conn| {
            conn.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM runs
                 WHERE (:project IS NULL OR project = :project OR project IS NULL AND EXISTS (
                         SELECT 1 FROM json_each(report, '$.projects') WHERE value ->> 'project' = :project))
                     AND (:before IS NULL
                         OR (started_at, id) < (SELECT started_at, id FROM runs WHERE id = :before))
                 ORDER BY started_at DESC, id DESC LIMIT :limit"
            ))?
            .query_map(
                named_params! {
                    ":project": query.project,
                    ":before": query.before,
                    ":limit": i64::try_from(query.limit).unwrap_or(i64::MAX),
                },
                run,
            )?
            .collect()
        })
    }

    /// One run.
    pub fn run(&self, id: &str) -> StageResult<Option<RunRow>> {
        self.read("read a run", |conn| {
            conn.prepare_cached(&format!("SELECT {COLUMNS} FROM runs WHERE id = ?1"))?
                .query_row([id], run)
                .optional()
        })
    }

    /// The newest run whose id begins like this.
    pub fn run_with_prefix(&self, prefix: &str) -> StageResult<Option<RunRow>> {
        self.read("read a run", |conn| {
            conn.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM runs WHERE id >= ?1 AND id < ?1 || char(0x10ffff)
                 ORDER BY started_at DESC, id DESC LIMIT 1"
            ))?
            .query_row([prefix], run)
            .optional()
        })
    }

    /// True where the history holds a run with this id.
    pub fn knows_run(&self, id: &str) -> StageResult<bool> {
        self.read("read a run", |conn| knows_run(conn, id))
    }

    /// The runs that an id refers to: the run itself, or the runs of a request.
    pub fn runs_of(&self, id: &str) -> StageResult<Vec<String>> {
        self.read("read the runs of a request", |conn| {
            if knows_run(conn, id)? {
                return Ok(vec![id.to_owned()]);
            }
            conn.prepare_cached("SELECT id FROM runs WHERE request = ?1 ORDER BY id")?
                .query_map([id], |row| row.get(0))?
                .collect()
        })
    }
}

fn knows_run(conn: &Connection, id: &str) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM runs WHERE id = ?1)")?.query_row([id], |row| row.get(0))
}

/// Deletes runs by age, and those of the project of `begun` by number. Runs over several projects
/// count as the runs of one. `begun` itself stays, also where the clock was set back.
fn forget_old(
    tx: &Transaction<'_>,
    begun: &NewRun,
    keep: Duration,
    now: DateTime<Utc>,
) -> rusqlite::Result<()> {
    let oldest = TimeDelta::from_std(keep).ok().and_then(|keep| now.checked_sub_signed(keep));
    if let Some(oldest) = oldest {
        tx.prepare_cached(
            "DELETE FROM runs WHERE started_at < ?1 AND EXISTS (
                 SELECT 1 FROM runs AS newer WHERE newer.project IS runs.project
                     AND (newer.started_at, newer.id) > (runs.started_at, runs.id))",
        )?
        .execute([timestamp(oldest)])?;
    }
    tx.prepare_cached(
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Counts, Outcome, ProjectReport};

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::minutes(minutes)
    }

    fn start(ledger: &SqliteState, id: &str, request: &str, project: Option<&str>, minutes: i64) {
        let run = NewRun {
            id: id.into(),
            request: request.into(),
            project: project.map(str::to_owned),
            trigger: "test".into(),
        };
        ledger.start_run(&run, 90 * DAY, at(minutes)).expect("started");
    }

    fn ids(ledger: &SqliteState, query: &RunQuery) -> Vec<String> {
        ledger.runs(query).expect("read").into_iter().map(|row| row.id).collect()
    }

    #[test]
    fn a_busy_project_does_not_push_others_out_of_the_history() {
        let ledger = SqliteState::in_memory().expect("a ledger");
        start(&ledger, "quiet", "quiet", Some("quiet"), 0);
        for n in 0..KEPT_RUNS + 5 {
            start(&ledger, &format!("busy-{n:04}"), "r", Some("busy"), n);
        }
        let all = ids(&ledger, &RunQuery::newest(usize::MAX));
        assert_eq!(all.len(), usize::try_from(KEPT_RUNS).expect("small") + 1);
        assert!(all.contains(&"quiet".to_owned()) && !all.contains(&"busy-0004".to_owned()));
    }

    #[test]
    fn runs_go_by_age_but_the_newest_of_each_project_stays() {
        let ledger = SqliteState::in_memory().expect("a ledger");
        let day = 24 * 60;
        for (id, project, days) in
            [("1", Some("a"), 0), ("2", Some("a"), 1), ("3", Some("b"), 1), ("4", None, 1), ("5", None, 2)]
        {
            start(&ledger, id, id, project, days * day);
        }
        start(&ledger, "6", "6", Some("c"), 100 * day);
        assert_eq!(ids(&ledger, &RunQuery::newest(9)), ["6", "5", "3", "2"]);
    }

    #[test]
    fn pages_follow_each_other_without_a_gap() {
        let ledger = SqliteState::in_memory().expect("a ledger");
        // Two runs of the same moment: the id decides.
        for (id, minutes) in [("a", 0), ("b", 1), ("c", 1), ("d", 2), ("e", 3)] {
            start(&ledger, id, id, Some("p"), minutes);
        }
        let mut query = RunQuery::newest(2);
        let mut seen = Vec::new();
        loop {
            let page = ids(&ledger, &query);
            let Some(last) = page.last() else { break };
            query.before = Some(last.clone());
            seen.extend(page);
        }
        assert_eq!(seen, ["e", "d", "c", "b", "a"]);
        assert_eq!(ids(&ledger, &RunQuery { before: Some("x".into()), ..RunQuery::newest(2) }).len(), 0);
    }

    #[test]
    fn a_projects_history_holds_runs_over_several_projects() {
        let ledger = SqliteState::in_memory().expect("a ledger");
        start(&ledger, "1", "1", None, 0);
        start(&ledger, "2", "2", Some("a"), 1);
        start(&ledger, "3", "3", None, 2);
        let part = |name: &str| ProjectReport {
            project: name.into(),
            outcome: Outcome::Done,
            counts: Counts::default(),
            skipped: Vec::new(),
            failures: Vec::new(),
            error: None,
            retry_after: None,
            withheld: Vec::new(),
            notes: Vec::new(),
        };
        let report = Report {
            run: "1".into(),
            trigger: "test".into(),
            started_at: at(0),
            seconds: 1.0,
            outcome: Outcome::Done,
            projects: vec![part("a"), part("b")],
        };
        ledger.finish_run(&report, &[], at(1)).expect("recorded");
        let of =
            |project: &str| ids(&ledger, &RunQuery { project: Some(project.into()), ..RunQuery::newest(9) });
        assert_eq!((of("a"), of("b"), of("c")), (vec!["2".into(), "1".into()], vec!["1".into()], vec![]));
    }

    #[test]
    fn an_id_stands_for_its_run_or_for_the_runs_of_its_request() {
        let ledger = SqliteState::in_memory().expect("a ledger");
        start(&ledger, "20.a", "20", Some("a"), 0);
        start(&ledger, "20.b", "20", Some("b"), 0);
        // The string begins alike; the request is another one.
        start(&ledger, "20.a.b", "21", Some("c"), 0);
        let of = |id: &str| ledger.runs_of(id).expect("read");
        assert_eq!(of("20"), ["20.a", "20.b"]);
        assert_eq!(of("20.a"), ["20.a"]);
        assert_eq!(of("21"), ["20.a.b"]);
        assert!(of("2").is_empty());
        let found = |prefix: &str| ledger.run_with_prefix(prefix).expect("read").map(|row| row.id);
        assert_eq!(found("20.b").as_deref(), Some("20.b"));
        assert_eq!(found("20.a.").as_deref(), Some("20.a.b"));
        assert_eq!(found("3"), None);
    }
}
