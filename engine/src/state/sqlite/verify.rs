//! What the ledger believes to be in a place, for `verify`.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::rows::{place_id, project_id};
use crate::model::Place;
use crate::state::ids::{FileIds, FileKey};
use crate::state::project::Believed;

/// Everything in a place; `None` if it was never adopted for the project.
pub(super) fn believed(
    conn: &Connection,
    project: &str,
    place: &Place,
) -> rusqlite::Result<Option<Believed>> {
    let (Some(project), Some(place)) = (project_id(conn, project)?, place_id(conn, place)?) else {
        return Ok(None);
    };
    let adopted = conn
        .prepare_cached("SELECT 1 FROM adoptions WHERE project_id = ?1 AND place_id = ?2")?
        .exists(params![project, place])?;
    if !adopted {
        return Ok(None);
    }
    let ids = |sql: &str| -> rusqlite::Result<Vec<String>> {
        conn.prepare_cached(sql)?.query_map([place], |row| row.get(0))?.collect()
    };
    Ok(Some(Believed {
        recorded: ids("SELECT chunks.id FROM files JOIN chunks ON file_id = files.id WHERE place_id = ?1")?,
        open: ids(
            "SELECT id FROM intents WHERE place_id = ?1 UNION SELECT id FROM leftovers WHERE place_id = ?1",
        )?,
        files: files(conn, project, place)?,
    }))
}

/// The ids that a project's files have in a place.
fn files(conn: &Connection, project: i64, place: i64) -> rusqlite::Result<Vec<FileIds>> {
    let mut files: BTreeMap<i64, FileIds> = BTreeMap::new();
    let mut statement = conn.prepare_cached(
        "SELECT file_id, repository, file_path, chunks.id FROM files JOIN chunks ON file_id = files.id
         WHERE project_id = ?1 AND place_id = ?2",
    )?;
    let mut rows = statement.query([project, place])?;
    while let Some(row) = rows.next()? {
        let (file, id): (i64, String) = (row.get(0)?, row.get(3)?);
        if let Some(entry) = files.get_mut(&file) {
            entry.ids.push(id);
        } else {
            let key = FileKey { repository: row.get(1)?, path: row.get(2)? };
            files.insert(file, FileIds { file: key, ids: vec![id] });
        }
    }
    Ok(files.into_values().collect())
}
