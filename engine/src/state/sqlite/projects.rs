//! Projects and places.

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, params};

use super::{ProjectKey, SqliteState, timestamp, touch};
use crate::model::{Place, StageResult};
use crate::state::ids::Leftover;
use crate::state::project::{OrphanProject, ProjectRow};

impl SqliteState {
    /// Enters or updates a project; returns its number.
    pub fn put_project(&self, project: &ProjectRow, now: DateTime<Utc>) -> StageResult<i64> {
        let json = |list: &[String]| serde_json::to_string(list).unwrap_or_default();
        self.write("record a project", |tx| {
            tx.query_row(
                "INSERT INTO projects (name, organization, filter_keyword, namespace, enabled, allowed_extensions,
                     exclude_patterns, created_at, updated_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)
                 ON CONFLICT (name) DO UPDATE SET organization = excluded.organization,
                     filter_keyword = excluded.filter_keyword, namespace = excluded.namespace, enabled = excluded.enabled,
                     allowed_extensions = excluded.allowed_extensions, exclude_patterns = excluded.exclude_patterns,
                     updated_at = excluded.updated_at
                 RETURNING id",
                params![
                    project.name,
                    project.organization,
                    project.filter_keyword,
                    project.namespace,
                    project.enabled,
                    project.allowed_extensions.as_deref().map(json),
                    json(&project.exclude_patterns),
                    timestamp(now),
                ],
                |row| row.get(0),
            )
        })
    }

    /// A project's number; none: it never ran.
    pub fn project_id(&self, name: &str) -> StageResult<Option<i64>> {
        self.read("read a project", |conn| {
            conn.query_row("SELECT id FROM projects WHERE name = ?1", [name], |row| row.get(0)).optional()
        })
    }

    /// The selection of the project's last finished run, as a fingerprint.
    pub fn last_selection(&self, project: i64) -> StageResult<Option<String>> {
        self.read("read a project", |conn| {
            conn.query_row("SELECT selection FROM projects WHERE id = ?1", [project], |row| row.get(0))
                .optional()
                .map(Option::flatten)
        })
    }

    /// Records the selection of a finished run.
    pub fn set_selection(&self, project: i64, selection: &str) -> StageResult<()> {
        self.write("record a selection", |tx| {
            tx.execute("UPDATE projects SET selection = ?2 WHERE id = ?1", params![project, selection])
                .map(drop)
        })
    }

    /// True once a run of the project came to its end, with nothing withheld from embedding.
    pub fn first_run_is_over(&self, project: i64) -> StageResult<bool> {
        self.read("read a project", |conn| {
            conn.query_row("SELECT first_run_ended_at FROM projects WHERE id = ?1", [project], |row| {
                row.get::<_, Option<String>>(0)
            })
            .optional()
            .map(|at| at.flatten().is_some())
        })
    }

    /// Records that a run of the project came to its end; the first one counts.
    pub fn first_run_ended(&self, project: i64, now: DateTime<Utc>) -> StageResult<()> {
        if self.first_run_is_over(project)? {
            return Ok(());
        }
        self.write("record the end of a first run", |tx| {
            tx.execute(
                "UPDATE projects SET first_run_ended_at = ?2 WHERE id = ?1",
                params![project, timestamp(now)],
            )
            .map(drop)
        })
    }

    /// Projects of the ledger that are not among `declared`.
    pub fn orphan_projects(&self, declared: &[String]) -> StageResult<Vec<OrphanProject>> {
        self.read("read projects", |conn| {
            let all: Vec<OrphanProject> = conn
                .prepare_cached(
                    "SELECT projects.id, name, coalesce(sum(embedding_count), 0) FROM projects
                     LEFT JOIN sync_metadata ON project_id = projects.id GROUP BY projects.id ORDER BY name",
                )?
                .query_map([], |row| {
                    Ok(OrphanProject { id: row.get(0)?, name: row.get(1)?, vectors: row.get(2)? })
                })?
                .collect::<Result<_, _>>()?;
            Ok(all.into_iter().filter(|project| !declared.contains(&project.name)).collect())
        })
    }

    /// Every id of a project in every place: chunks, open intents, leftovers.
    pub fn ids_of_project(&self, project: ProjectKey<'_>) -> StageResult<Vec<Leftover>> {
        self.read("read a project's ids", |conn| {
            conn.prepare_cached(
                "SELECT place_id, chunks.id FROM sync_metadata JOIN chunks ON file_id = sync_metadata.id WHERE project_id = ?1
                 UNION SELECT place_id, id FROM intents WHERE project = ?2
                 UNION SELECT place_id, id FROM leftovers WHERE project = ?2",
            )?
            .query_map(params![project.0, project.1], |row| Ok(Leftover { place: row.get(0)?, id: row.get(1)? }))?
            .collect()
        })
    }

    /// The files of a project that have vectors: repository and path, in this order.
    pub fn paths_of_project(&self, project: i64) -> StageResult<Vec<(String, String)>> {
        self.read("read a project's files", |conn| {
            conn.prepare_cached(
                "SELECT repository, file_path FROM sync_metadata
                 WHERE project_id = ?1 AND embedding_count > 0 ORDER BY repository, file_path",
            )?
            .query_map([project], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
        })
    }

    /// Forgets a project of which the stores hold nothing any more; returns how many files it had.
    pub fn remove_project(&self, project: ProjectKey<'_>) -> StageResult<u64> {
        self.write("remove a project", |tx| {
            let files = tx.query_row(
                "SELECT count(*) FROM sync_metadata WHERE project_id = ?1 AND embedding_count > 0",
                [project.0],
                |row| row.get(0),
            )?;
            tx.execute("DELETE FROM projects WHERE id = ?1", [project.0])?;
            tx.execute("DELETE FROM intents WHERE project = ?1", [project.1])?;
            tx.execute("DELETE FROM leftovers WHERE project = ?1", [project.1])?;
            touch(tx)?;
            Ok(files)
        })
    }

    /// The number of a place; entered when it is new.
    pub fn place_id(&self, place: &Place) -> StageResult<i64> {
        self.write("record a place", |tx| {
            tx.execute(
                "INSERT OR IGNORE INTO places (kind, host, idx, namespace) VALUES (?1, ?2, ?3, ?4)",
                params![place.kind, place.host, place.index, place.namespace],
            )?;
            tx.query_row(
                "SELECT id FROM places WHERE kind = ?1 AND host = ?2 AND idx = ?3 AND namespace = ?4",
                params![place.kind, place.host, place.index, place.namespace],
                |row| row.get(0),
            )
        })
    }

    /// The number of a place that the ledger may know; enters nothing.
    pub fn find_place(&self, place: &Place) -> StageResult<Option<i64>> {
        self.read("read a place", |conn| {
            conn.query_row(
                "SELECT id FROM places WHERE kind = ?1 AND host = ?2 AND idx = ?3 AND namespace = ?4",
                params![place.kind, place.host, place.index, place.namespace],
                |row| row.get(0),
            )
            .optional()
        })
    }

    /// A place by its number.
    pub fn place(&self, id: i64) -> StageResult<Place> {
        self.read("read a place", |conn| {
            conn.query_row("SELECT kind, host, idx, namespace FROM places WHERE id = ?1", [id], |row| {
                Ok(Place { kind: row.get(0)?, host: row.get(1)?, index: row.get(2)?, namespace: row.get(3)? })
            })
        })
    }
}
