//! How current each project is, as far as the ledger can tell.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, params};

use super::rows::{parse_time, place_at, project_id};
use super::targets::{self, of_project};
use super::{findings, projects, repositories};
use crate::model::{DeclaredProject, LastRun, OrphanPlace, Outcome, Place, ProjectStatus, StatusView};
use crate::state::status::{Counts, ProjectFacts, never_ran, project_status, remedy};

/// The status of the declared projects, in that order, then of those that only the ledger knows.
pub(super) fn status(
    conn: &Connection,
    declared: &[DeclaredProject],
    now: DateTime<Utc>,
) -> rusqlite::Result<StatusView> {
    let runs = last_runs(conn)?;
    let mut projects = Vec::new();
    for project in declared {
        let mut status = status_of(conn, &project.name, &project.repositories)?;
        (status.enabled, status.declared) = (project.enabled, true);
        projects.push(status);
    }
    for recorded in projects::recorded_projects(conn)? {
        if declared.iter().all(|project| project.name != recorded.name) {
            let mut status = status_of(conn, &recorded.name, &[])?;
            (status.enabled, status.declared) = (true, false);
            projects.push(status);
        }
    }
    for project in &mut projects {
        project.last_run = runs.get(&project.project).cloned();
        project.sum_up_behind(now);
    }
    let orphan_places = left_behind(conn)?;
    Ok(StatusView { at: now, projects, running: None, orphan_places, refused_config: None })
}

fn status_of(conn: &Connection, name: &str, named: &[String]) -> rusqlite::Result<ProjectStatus> {
    let Some(id) = project_id(conn, name)? else { return Ok(never_ran(name, named)) };
    let facts = ProjectFacts {
        selected: findings::selected(conn, id)?,
        repositories: repositories::rows(conn, id)?,
        counts: counts(conn, id)?,
        open_intents: conn
            .query_row("SELECT count(*) FROM intents WHERE project = ?1", [name], |row| row.get(0))?,
        place: newest_place(conn, id)?,
        targets: targets::current(conn, id)?,
    };
    Ok(project_status(name, named, facts))
}

fn counts(conn: &Connection, project: i64) -> rusqlite::Result<BTreeMap<String, Counts>> {
    conn.prepare_cached(concat!(
        "SELECT repository, count(*) FILTER (WHERE embedding_count > 0), sum(embedding_count),
                count(*) FILTER (WHERE status = 'failed')
         FROM files WHERE ",
        of_project!(),
        " GROUP BY repository"
    ))?
    .query_map([project], |row| {
        Ok((row.get(0)?, Counts { files: row.get(1)?, vectors: row.get(2)?, failed: row.get(3)? }))
    })?
    .collect()
}

/// Places where vectors were left that no run could delete: what a run reaches, it cleans.
fn left_behind(conn: &Connection) -> rusqlite::Result<Vec<OrphanPlace>> {
    conn.prepare_cached(
        "SELECT kind, host, idx, namespace, count(*) FROM leftovers JOIN places ON places.id = place_id GROUP BY place_id",
    )?
    .query_map([], |row| {
        let place = place_at(row, 0)?;
        Ok(OrphanPlace { remedy: remedy(&place.kind), place: place.to_string(), vectors: row.get(4)? })
    })?
    .collect()
}

/// Where the project's vectors went last.
fn newest_place(conn: &Connection, project: i64) -> rusqlite::Result<Option<Place>> {
    conn.query_row(
        "SELECT kind, host, idx, namespace FROM targets JOIN places ON places.id = place_id
         WHERE project_id = ?1 AND adopted_at IS NOT NULL ORDER BY adopted_at DESC LIMIT 1",
        params![project],
        |row| place_at(row, 0),
    )
    .optional()
}

/// Each project's last run that came to an end.
fn last_runs(conn: &Connection) -> rusqlite::Result<BTreeMap<String, LastRun>> {
    let mut select =
        conn.prepare_cached("SELECT project, run_id, finished_at, outcome, error, withheld FROM last_runs")?;
    let rows = select.query_map([], |row| {
        let last = LastRun {
            run: row.get(1)?,
            finished_at: parse_time(row.get(2)?).unwrap_or_default(),
            outcome: serde_json::from_value(row.get::<_, String>(3)?.into()).unwrap_or(Outcome::Failed),
            error: row.get(4)?,
            withheld: serde_json::from_str(&row.get::<_, String>(5)?).unwrap_or_default(),
        };
        Ok((row.get(0)?, last))
    })?;
    rows.collect()
}
