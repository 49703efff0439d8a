//! Projects and places.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::rows::{entered, place_id, timestamp};
use super::store::SqliteState;
use super::targets::{self, of_project};
use super::{adopt, verify};
use crate::model::{Fingerprint, Place, StageResult};
use crate::state::fence::Fence;
use crate::state::project::{
    AdoptedRecord, Believed, ProjectEnd, ProjectRow, ProjectState, Projects, RecordedProject,
};

#[async_trait]
impl Projects for SqliteState {
    async fn project(&self, project: &str, place: &Place) -> StageResult<Option<ProjectState>> {
        let (project, place) = (project.to_owned(), place.clone());
        self.read("read a project", move |conn| {
            let place = place_id(conn, &place)?;
            conn.prepare_cached(
                "SELECT selection, first_run_ended_at IS NOT NULL,
                     EXISTS (SELECT 1 FROM targets
                             WHERE project_id = project_rows.id AND place_id = ?2 AND adopted_at IS NOT NULL),
                     (SELECT coalesce(sum(embedding_count), 0) FROM targets JOIN files ON target_id = targets.id
                      WHERE project_id = project_rows.id)
                 FROM project_rows WHERE name = ?1",
            )?
            .query_row(params![project, place], |row| {
                Ok(ProjectState {
                    selection: row.get(0)?,
                    first_run_over: row.get(1)?,
                    adopted: row.get(2)?,
                    vectors: row.get(3)?,
                })
            })
            .optional()
        })
        .await
    }

    async fn projects(&self) -> StageResult<Vec<RecordedProject>> {
        self.read("read projects", recorded_projects).await
    }

    async fn enter_project(
        &self,
        fence: Fence,
        project: &ProjectRow,
        place: &Place,
        recipe: &Fingerprint,
        now: DateTime<Utc>,
    ) -> StageResult<()> {
        let (project, place, recipe) = (project.clone(), place.clone(), recipe.clone());
        let (own, to, by) = (project.clone(), place.clone(), recipe.clone());
        let differs = move |conn: &Connection| {
            let Some(id) = unchanged_project(conn, &own)? else { return Ok(true) };
            Ok(!targets::is_begun(conn, id, &to, &by)?)
        };
        self.write_if(fence, "record a project", differs, move |conn| {
            let id = put_project(conn, &project, now)?;
            targets::begin(conn, id, &place, &recipe)
        })
        .await
    }

    async fn finish_project(
        &self,
        fence: Fence,
        project: &str,
        place: &Place,
        end: ProjectEnd,
        now: DateTime<Utc>,
    ) -> StageResult<()> {
        let (name, place) = (project.to_owned(), place.clone());
        let (project, to, wanted) = (name.clone(), place.clone(), end.clone());
        let differs = move |conn: &Connection| {
            let becomes_live =
                wanted.selection.is_some() && !targets::is_live(conn, entered(conn, &project)?, &to)?;
            let recorded: bool = conn.query_row(
                "SELECT (?2 IS NOT NULL AND selection IS NOT ?2) OR (?3 AND first_run_ended_at IS NULL)
                 FROM project_rows WHERE name = ?1",
                params![project, wanted.selection, wanted.first_run_over],
                |row| row.get(0),
            )?;
            Ok(becomes_live || recorded)
        };
        self.write_if(fence, "record the end of a project's run", differs, move |conn| {
            if end.selection.is_some() {
                targets::make_live(conn, entered(conn, &name)?, &place)?;
            }
            let ended = end.first_run_over.then(|| timestamp(now));
            conn.execute(
                "UPDATE project_rows SET selection = coalesce(?2, selection),
                     first_run_ended_at = coalesce(first_run_ended_at, ?3) WHERE name = ?1",
                params![name, end.selection, ended],
            )
            .map(drop)
        })
        .await
    }

    async fn remove_project(&self, fence: Fence, project: &str) -> StageResult<u64> {
        let project = project.to_owned();
        self.write(fence, "remove a project", move |conn| {
            let id = entered(conn, &project)?;
            let files = conn.query_row(
                concat!("SELECT count(*) FROM files WHERE ", of_project!(), " AND embedding_count > 0"),
                [id],
                |row| row.get(0),
            )?;
            conn.execute("DELETE FROM project_rows WHERE id = ?1", [id])?;
            conn.execute("DELETE FROM intents WHERE project = ?1", [&project])?;
            conn.execute("DELETE FROM leftovers WHERE project = ?1", [&project])?;
            Ok(files)
        })
        .await
    }

    async fn adopt(
        &self,
        fence: Fence,
        project: &str,
        place: &Place,
        records: Vec<AdoptedRecord>,
        now: DateTime<Utc>,
    ) -> StageResult<()> {
        let (project, place) = (project.to_owned(), place.clone());
        self.write(fence, "record what the store holds", move |conn| {
            adopt::adopt(conn, &project, &place, records, now)
        })
        .await
    }

    async fn owners_of_place(&self, place: &Place) -> StageResult<Vec<String>> {
        let place = place.clone();
        self.read("read a place's projects", move |conn| {
            conn.prepare_cached(
                "SELECT name FROM project_rows JOIN targets ON project_id = project_rows.id
                 WHERE place_id = ?1 AND (adopted_at IS NOT NULL
                     OR EXISTS (SELECT 1 FROM files WHERE target_id = targets.id))
                 ORDER BY name",
            )?
            .query_map([place_id(conn, &place)?], |row| row.get(0))?
            .collect()
        })
        .await
    }

    async fn believed(&self, project: &str, place: &Place) -> StageResult<Option<Believed>> {
        let (project, place) = (project.to_owned(), place.clone());
        self.read("read the ids of a place", move |conn| verify::believed(conn, &project, &place)).await
    }
}

pub(super) fn recorded_projects(conn: &Connection) -> rusqlite::Result<Vec<RecordedProject>> {
    conn.prepare_cached(
        "SELECT name, coalesce(sum(embedding_count), 0) FROM project_rows
         LEFT JOIN targets ON project_id = project_rows.id LEFT JOIN files ON target_id = targets.id
         GROUP BY project_rows.id ORDER BY name",
    )?
    .query_map([], |row| Ok(RecordedProject { name: row.get(0)?, vectors: row.get(1)? }))?
    .collect()
}

/// The columns of a declared project, in the order of [`declared`].
macro_rules! columns {
    () => {
        "name, organization, filter_keyword, namespace, enabled, allowed_extensions, exclude_patterns"
    };
}

/// A parameter for each of the columns.
macro_rules! values {
    () => {
        "?1, ?2, ?3, ?4, ?5, ?6, ?7"
    };
}

/// The values of the columns.
fn declared(project: &ProjectRow) -> [Value; 7] {
    let json = |list: &Vec<String>| serde_json::to_string(list).unwrap_or_default();
    [
        project.name.clone().into(),
        project.organization.clone().into(),
        project.filter_keyword.clone().into(),
        project.namespace.clone().into(),
        project.enabled.into(),
        project.allowed_extensions.as_ref().map(json).into(),
        json(&project.exclude_patterns).into(),
    ]
}

/// The number of a project that is recorded just as it is declared.
fn unchanged_project(conn: &Connection, project: &ProjectRow) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached(concat!(
        "SELECT id FROM project_rows WHERE name = ?1 AND (",
        columns!(),
        ") IS (",
        values!(),
        ")"
    ))?
    .query_row(declared(project), |row| row.get(0))
    .optional()
}

fn put_project(conn: &Connection, project: &ProjectRow, now: DateTime<Utc>) -> rusqlite::Result<i64> {
    conn.query_row(
        concat!(
            "INSERT INTO project_rows (",
            columns!(),
            ", created_at, updated_at) VALUES (",
            values!(),
            ", ?8, ?8)
             ON CONFLICT (name) DO UPDATE SET (",
            columns!(),
            ", updated_at) = (",
            values!(),
            ", ?8)
             RETURNING id"
        ),
        params_from_iter(declared(project).into_iter().chain([timestamp(now).into()])),
        |row| row.get(0),
    )
}
