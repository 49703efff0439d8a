//! Numbers of projects and places, which stay inside this module, and small parts of statements.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::model::Place;
use crate::state::status;

/// A project's number; `None`: it never ran.
pub(super) fn project_id(conn: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT id FROM project_rows WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

/// The number of a project that is entered.
pub(super) fn entered(conn: &Connection, name: &str) -> rusqlite::Result<i64> {
    conn.prepare_cached("SELECT id FROM project_rows WHERE name = ?1")?.query_row([name], |row| row.get(0))
}

/// A place's number; `None`: no project uses it.
pub(super) fn place_id(conn: &Connection, place: &Place) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached(
        "SELECT id FROM places WHERE kind = ?1 AND host = ?2 AND idx = ?3 AND namespace = ?4",
    )?
    .query_row(params![place.kind, place.host, place.index, place.namespace], |row| row.get(0))
    .optional()
}

/// A place's number; entered if it is new.
pub(super) fn put_place(conn: &Connection, place: &Place) -> rusqlite::Result<i64> {
    if let Some(id) = place_id(conn, place)? {
        return Ok(id);
    }
    conn.prepare_cached(
        "INSERT INTO places (kind, host, idx, namespace) VALUES (?1, ?2, ?3, ?4) RETURNING id",
    )?
    .query_row(params![place.kind, place.host, place.index, place.namespace], |row| row.get(0))
}

/// A place from four columns that begin at `first`.
pub(super) fn place_at(row: &Row<'_>, first: usize) -> rusqlite::Result<Place> {
    Ok(Place {
        kind: row.get(first)?,
        host: row.get(first + 1)?,
        index: row.get(first + 2)?,
        namespace: row.get(first + 3)?,
    })
}

/// Places by their numbers, each read once.
#[derive(Default)]
pub(super) struct Places(HashMap<i64, Arc<Place>>);

impl Places {
    pub(super) fn of(&mut self, conn: &Connection, id: i64) -> rusqlite::Result<Arc<Place>> {
        Ok(Arc::clone(match self.0.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let sql = "SELECT kind, host, idx, namespace FROM places WHERE id = ?1";
                let place = conn.prepare_cached(sql)?.query_row([id], |row| place_at(row, 0))?;
                unknown.insert(Arc::new(place))
            }
        }))
    }
}

/// Counts a change of what is recorded of a repository's files.
pub(super) fn touch(conn: &Connection, project: i64, repository: &str) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "UPDATE repositories SET revision = revision + 1 WHERE project_id = ?1 AND name = ?2",
    )?
    .execute(params![project, repository])
    .map(drop)
}

/// The same for several repositories, each of which counts once.
pub(super) fn touch_all<'a>(
    conn: &Connection,
    project: i64,
    repositories: impl IntoIterator<Item = &'a str>,
) -> rusqlite::Result<()> {
    let repositories: std::collections::BTreeSet<&str> = repositories.into_iter().collect();
    repositories.into_iter().try_for_each(|repository| touch(conn, project, repository))
}

/// A timestamp as the ledger writes it.
pub(super) fn timestamp(now: DateTime<Utc>) -> String {
    now.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A timestamp as the ledger wrote it.
pub(super) fn parse_time(text: Option<String>) -> Option<DateTime<Utc>> {
    status::parse_time(&text?)
}
