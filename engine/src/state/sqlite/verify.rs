//! What the ledger believes to be in a place, for `verify`.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::rows::{place_id, project_id};
use super::targets::target_id;
use crate::model::Place;
use crate::state::ids::{FileIds, FileKey};
use crate::state::project::Believed;

/// Everything in a place; `None` if it was never adopted for the project.
pub(super) fn believed(
    conn: &Connection,
    project: &str,
    place: &Place,
) -> rusqlite::Result<Option<Believed>> {
    let (Some(project), Some(placed)) = (project_id(conn, project)?, place_id(conn, place)?) else {
        return Ok(None);
    };
    let Some(target) = target_id(conn, project, place)? else { return Ok(None) };
    let adopted: bool = conn
        .prepare_cached("SELECT adopted_at IS NOT NULL FROM targets WHERE id = ?1")?
        .query_row([target], |row| row.get(0))?;
    if !adopted {
        return Ok(None);
    }
    let ids = |sql: &str| -> rusqlite::Result<Vec<String>> {
        conn.prepare_cached(sql)?.query_map([placed], |row| row.get(0))?.collect()
    };
    Ok(Some(Believed {
        recorded: ids(
            "SELECT chunks.id FROM targets JOIN files ON target_id = targets.id JOIN chunks ON file_id = files.id
             WHERE place_id = ?1",
        )?,
        open: ids(
            "SELECT id FROM intents WHERE place_id = ?1 UNION SELECT id FROM leftovers WHERE place_id = ?1",
        )?,
        files: files(conn, target)?,
    }))
}

/// The ids of a target's files.
fn files(conn: &Connection, target: i64) -> rusqlite::Result<Vec<FileIds>> {
    let mut files: BTreeMap<i64, FileIds> = BTreeMap::new();
    let mut statement = conn.prepare_cached(
        "SELECT file_id, repository, file_path, chunks.id FROM files JOIN chunks ON file_id = files.id
         WHERE target_id = ?1",
    )?;
    let mut rows = statement.query([target])?;
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
