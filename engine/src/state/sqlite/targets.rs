//! Targets: a project in a place. Files hang on a target, so that a place can be filled while another one is
//! still searched.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::rows::{place_at, place_id, put_place};
use crate::model::{Fingerprint, Place, Target, TargetState};

/// The files of a project, as a condition on `files` with the project's number as `?1`.
macro_rules! of_project {
    () => {
        "target_id IN (SELECT id FROM targets WHERE project_id = ?1)"
    };
}
pub(super) use of_project;

/// A target's number; `None`: nothing of the project was ever written to the place.
pub(super) fn target_id(conn: &Connection, project: i64, place: &Place) -> rusqlite::Result<Option<i64>> {
    let Some(place) = place_id(conn, place)? else { return Ok(None) };
    conn.prepare_cached("SELECT id FROM targets WHERE project_id = ?1 AND place_id = ?2")?
        .query_row([project, place], |row| row.get(0))
        .optional()
}

/// A target's number; entered, as one that is being built, if it is new.
pub(super) fn put_target(conn: &Connection, project: i64, place: &Place) -> rusqlite::Result<i64> {
    if let Some(id) = target_id(conn, project, place)? {
        return Ok(id);
    }
    conn.prepare_cached("INSERT INTO targets (project_id, place_id, state) VALUES (?1, ?2, ?3) RETURNING id")?
        .query_row(params![project, put_place(conn, place)?, TargetState::Building.as_str()], |row| {
            row.get(0)
        })
}

/// Records that runs write to a target from now on, and how. A retired one has to be built again.
pub(super) fn begin(
    conn: &Connection,
    project: i64,
    place: &Place,
    recipe: &Fingerprint,
) -> rusqlite::Result<()> {
    let target = put_target(conn, project, place)?;
    conn.prepare_cached(
        "UPDATE targets SET recipe = ?2, state = CASE state WHEN 'retired' THEN 'building' ELSE state END
         WHERE id = ?1",
    )?
    .execute(params![target, recipe.as_str()])
    .map(drop)
}

/// Whether runs are recorded to write to a target in this way.
pub(super) fn is_begun(
    conn: &Connection,
    project: i64,
    place: &Place,
    recipe: &Fingerprint,
) -> rusqlite::Result<bool> {
    let Some(target) = target_id(conn, project, place)? else { return Ok(false) };
    conn.prepare_cached("SELECT recipe IS ?2 AND state <> 'retired' FROM targets WHERE id = ?1")?
        .query_row(params![target, recipe.as_str()], |row| row.get(0))
}

/// Whether a target is the live one.
pub(super) fn is_live(conn: &Connection, project: i64, place: &Place) -> rusqlite::Result<bool> {
    let Some(target) = target_id(conn, project, place)? else { return Ok(false) };
    conn.prepare_cached("SELECT state = 'live' FROM targets WHERE id = ?1")?
        .query_row([target], |row| row.get(0))
}

/// Records that a target holds everything: it is the live one, and the project has left the others.
pub(super) fn make_live(conn: &Connection, project: i64, place: &Place) -> rusqlite::Result<()> {
    let target = put_target(conn, project, place)?;
    conn.prepare_cached("UPDATE targets SET state = 'retired' WHERE project_id = ?1 AND id <> ?2")?
        .execute([project, target])?;
    conn.prepare_cached("UPDATE targets SET state = 'live' WHERE id = ?1")?.execute([target]).map(drop)
}

/// A project's targets that are not retired: the live one first.
pub(super) fn current(conn: &Connection, project: i64) -> rusqlite::Result<Vec<Target>> {
    conn.prepare_cached(
        "SELECT kind, host, idx, namespace, state FROM targets JOIN places ON places.id = place_id
         WHERE project_id = ?1 AND state <> 'retired' ORDER BY state = 'live' DESC, targets.id",
    )?
    .query_map([project], |row| {
        let state = TargetState::parse(&row.get::<_, String>(4)?);
        Ok(Target { place: place_at(row, 0)?.to_string(), state })
    })?
    .collect()
}
