//! How current each project is, as far as the ledger can tell.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, params};

use super::rows::{parse_time, place_at, project_id};
use super::targets::{self, of_project};
use super::{findings, projects, repositories};
use crate::model::{
    DeclaredProject, LastRun, OrphanPlace, Outcome, Place, ProjectStatus, RepositoryStatus, StatusView,
};

/// The status of the declared projects, in that order, then of those that only the ledger knows.
pub(super) fn status(
    conn: &Connection,
    declared: &[DeclaredProject],
    now: DateTime<Utc>,
) -> rusqlite::Result<StatusView> {
    let runs = last_runs(conn)?;
    let mut projects = Vec::new();
    for project in declared {
        let mut status = project_status(conn, &project.name, &project.repositories)?;
        (status.enabled, status.declared) = (project.enabled, true);
        projects.push(status);
    }
    for recorded in projects::recorded_projects(conn)? {
        if declared.iter().all(|project| project.name != recorded.name) {
            let mut status = project_status(conn, &recorded.name, &[])?;
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

fn project_status(conn: &Connection, name: &str, named: &[String]) -> rusqlite::Result<ProjectStatus> {
    let mut status = ProjectStatus { project: name.to_owned(), ..ProjectStatus::default() };
    let mut rows: BTreeMap<String, RepositoryStatus> = BTreeMap::new();
    let mut enter = |name: &String| {
        rows.insert(name.clone(), RepositoryStatus::unknown(name.clone()));
    };
    let Some(id) = project_id(conn, name)? else {
        named.iter().for_each(enter);
        status.repositories = sorted(rows);
        return Ok(status);
    };
    status.open_intents =
        conn.query_row("SELECT count(*) FROM intents WHERE project = ?1", [name], |row| row.get(0))?;
    let selected = findings::selected(conn, id)?;
    // Before the first listing there are only the names of the file.
    if selected.is_empty() {
        named.iter().for_each(&mut enter);
    } else {
        selected.keys().for_each(enter);
    }
    let (counts, place) = (counts(conn, id)?, newest_place(conn, id)?);
    for row in repositories::rows(conn, id)? {
        let (files, vectors, failed_files) = counts.get(&row.name).copied().unwrap_or_default();
        status.files += files;
        status.vectors += vectors;
        status.failed_files += failed_files;
        let repository = RepositoryStatus {
            commits_behind: row
                .last_commit
                .and_then(|indexed| if row.head == Some(indexed) { Some(0) } else { row.commits_behind }),
            indexed: row.last_commit,
            head: row.head,
            synced_at: parse_time(row.last_synced_at),
            files,
            vectors,
            failed_files,
            orphan_since: row.orphan_since,
            ..RepositoryStatus::unknown(row.name.clone())
        };
        rows.insert(row.name, repository);
    }
    for (name, found) in selected {
        let Some(repository) = rows.get_mut(&name) else { continue };
        repository.error = found.error;
        if found.empty && repository.indexed.is_none() {
            repository.empty = true;
            repository.commits_behind = Some(0);
        }
    }
    status.repositories = sorted(rows);
    status.place = place.map(|place| place.to_string()).unwrap_or_default();
    status.targets = targets::current(conn, id)?;
    Ok(status)
}

/// What needs attention first, then by name.
fn sorted(repositories: BTreeMap<String, RepositoryStatus>) -> Vec<RepositoryStatus> {
    let mut sorted: Vec<_> = repositories.into_values().map(RepositoryStatus::judged).collect();
    sorted.sort_by_key(|repository| repository.state);
    sorted
}

/// Files, vectors and failed files by repository.
fn counts(conn: &Connection, project: i64) -> rusqlite::Result<BTreeMap<String, (u64, u64, u64)>> {
    conn.prepare_cached(concat!(
        "SELECT repository, count(*) FILTER (WHERE embedding_count > 0), sum(embedding_count),
                count(*) FILTER (WHERE status = 'failed')
         FROM files WHERE ",
        of_project!(),
        " GROUP BY repository"
    ))?
    .query_map([project], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?, row.get(3)?))))?
    .collect()
}

/// Places where vectors were left that no run could delete: what a run reaches, it cleans.
fn left_behind(conn: &Connection) -> rusqlite::Result<Vec<OrphanPlace>> {
    conn.prepare_cached(
        "SELECT kind, host, idx, namespace, count(*) FROM leftovers JOIN places ON places.id = place_id GROUP BY place_id",
    )?
    .query_map([], |row| {
        let place = place_at(row, 0)?;
        let remedy = format!("put a stage of kind `{}` back that reaches it, and run `reposync apply`", place.kind);
        Ok(OrphanPlace { place: place.to_string(), vectors: row.get(4)?, remedy })
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
