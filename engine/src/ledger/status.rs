//! How current each project is, as far as the ledger can tell.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, params};

use super::Ledger;
use super::repositories::parse_time;
use crate::model::{
    LastRun, OrphanPlace, Outcome, Place, ProjectStatus, RepositoryStatus, StageResult, StatusView,
};

impl Ledger {
    /// The status of the declared projects (name and whether enabled), in that order, then of those
    /// that only the ledger knows.
    pub fn status(&self, declared: &[(String, bool)], now: DateTime<Utc>) -> StageResult<StatusView> {
        let runs = self.read("read the last runs", last_runs)?;
        let names: Vec<String> = declared.iter().map(|(name, _)| name.clone()).collect();
        let orphans = self.orphan_projects(&names)?;
        let all = declared
            .iter()
            .map(|(name, enabled)| (name.as_str(), *enabled, true))
            .chain(orphans.iter().map(|orphan| (orphan.name.as_str(), true, false)));
        let mut projects = Vec::new();
        for (name, enabled, is_declared) in all {
            let mut project = self.project_status(name)?;
            project.enabled = enabled;
            project.declared = is_declared;
            project.last_run = runs.get(name).cloned();
            project.sum_up_behind(now);
            projects.push(project);
        }
        let orphan_places = self.read("read leftovers", left_behind)?;
        Ok(StatusView { at: now, projects, running: None, orphan_places, refused_config: None })
    }

    fn project_status(&self, name: &str) -> StageResult<ProjectStatus> {
        let mut status = ProjectStatus { project: name.to_owned(), ..ProjectStatus::default() };
        let Some(id) = self.project_id(name)? else { return Ok(status) };
        status.open_intents = self.open_intents_count(name)?;
        let rows = self.repositories(id)?;
        let (counts, place) =
            self.read("count files", |conn| Ok((counts(conn, id)?, newest_place(conn, id)?)))?;
        for row in rows {
            let (files, vectors, failed) = counts.get(&row.name).copied().unwrap_or_default();
            status.files += files;
            status.vectors += vectors;
            status.failed_files += failed;
            status.repositories.push(RepositoryStatus {
                repository: row.name,
                commits_behind: row
                    .last_commit
                    .and_then(|indexed| if row.head == Some(indexed) { Some(0) } else { row.commits_behind }),
                indexed: row.last_commit,
                head: row.head,
                synced_at: parse_time(row.last_synced_at),
                files,
                vectors,
                orphan_since: row.orphan_since,
            });
        }
        status.place = place.map(|place| place.to_string()).unwrap_or_default();
        Ok(status)
    }
}

/// Files, vectors and failed files by repository.
fn counts(conn: &Connection, project: i64) -> rusqlite::Result<BTreeMap<String, (u64, u64, u64)>> {
    conn.prepare_cached(
        "SELECT repository, count(*) FILTER (WHERE embedding_count > 0), sum(embedding_count),
                count(*) FILTER (WHERE status = 'failed')
         FROM sync_metadata WHERE project_id = ?1 GROUP BY repository",
    )?
    .query_map([project], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?, row.get(3)?))))?
    .collect()
}

/// Places where vectors were left that no run could delete: what a run reaches, it cleans.
fn left_behind(conn: &Connection) -> rusqlite::Result<Vec<OrphanPlace>> {
    conn.prepare_cached(
        "SELECT kind, host, idx, namespace, count(*) FROM leftovers JOIN places ON places.id = place_id GROUP BY place_id",
    )?
    .query_map([], |row| {
        let place = Place { kind: row.get(0)?, host: row.get(1)?, index: row.get(2)?, namespace: row.get(3)? };
        let remedy = format!("put a stage of kind `{}` back that reaches it, and run `reposync apply`", place.kind);
        Ok(OrphanPlace { place: place.to_string(), vectors: row.get(4)?, remedy })
    })?
    .collect()
}

/// Where the project's vectors went last.
fn newest_place(conn: &Connection, project: i64) -> rusqlite::Result<Option<Place>> {
    conn.query_row(
        "SELECT kind, host, idx, namespace FROM adoptions JOIN places ON places.id = place_id
         WHERE project_id = ?1 ORDER BY adopted_at DESC LIMIT 1",
        params![project],
        |row| Ok(Place { kind: row.get(0)?, host: row.get(1)?, index: row.get(2)?, namespace: row.get(3)? }),
    )
    .optional()
}

/// Each project's last run that came to an end.
fn last_runs(conn: &Connection) -> rusqlite::Result<BTreeMap<String, LastRun>> {
    let mut select =
        conn.prepare_cached("SELECT project, run_id, finished_at, outcome, error FROM last_runs")?;
    let rows = select.query_map([], |row| {
        let last = LastRun {
            run: row.get(1)?,
            finished_at: parse_time(row.get(2)?).unwrap_or_default(),
            outcome: serde_json::from_value(row.get::<_, String>(3)?.into()).unwrap_or(Outcome::Failed),
            error: row.get(4)?,
        };
        Ok((row.get(0)?, last))
    })?;
    rows.collect()
}
