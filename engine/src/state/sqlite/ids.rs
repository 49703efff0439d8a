//! Ids of records: recorded ones, announced upserts and deletes, and what a move left behind.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, Params, params};

use super::rows::{Places, entered, place_id, project_id, put_place, touch_all};
use super::targets::target_id;
use crate::model::{Fingerprint, Place};
use crate::state::ids::{FileIds, FileKey, HeldIds, IdsOf, PlacedIds};

/// Writes down ids that are about to exist or to go.
pub(super) fn open_intents(
    conn: &Connection,
    project: &str,
    place: &Place,
    intents: &[FileIds],
) -> rusqlite::Result<()> {
    let place = put_place(conn, place)?;
    let mut insert = conn.prepare_cached("INSERT OR REPLACE INTO intents VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for FileIds { file, ids } in intents {
        for id in ids {
            insert.execute(params![place, id, project, file.repository, file.path])?;
        }
    }
    let id = entered(conn, project)?;
    touch_all(conn, id, intents.iter().map(|intent| intent.file.repository.as_str()))
}

/// What may be in a place for each file.
pub(super) fn held(
    conn: &Connection,
    project: &str,
    place: &Place,
    files: &[FileKey],
) -> rusqlite::Result<Vec<HeldIds>> {
    let (Some(id), Some(placed)) = (project_id(conn, project)?, place_id(conn, place)?) else {
        return Ok(vec![HeldIds::default(); files.len()]);
    };
    let target = target_id(conn, id, place)?;
    let mut chunks = conn.prepare_cached(
        "SELECT chunks.id, chunks.fingerprint FROM files JOIN chunks ON file_id = files.id
         WHERE target_id = ?1 AND repository = ?2 AND file_path = ?3",
    )?;
    let mut open = conn.prepare_cached(
        "SELECT id FROM intents WHERE project = ?1 AND repository = ?2 AND file_path = ?3 AND place_id = ?4
         UNION ALL
         SELECT id FROM leftovers WHERE project = ?1 AND repository = ?2 AND file_path = ?3 AND place_id = ?4",
    )?;
    let mut held = Vec::with_capacity(files.len());
    for file in files {
        held.push(HeldIds {
            chunks: chunks
                .query_map(params![target, file.repository, file.path], |row| {
                    Ok((row.get(0)?, Fingerprint::from_stored(row.get::<_, String>(1)?)))
                })?
                .collect::<Result<_, _>>()?,
            open: open
                .query_map(params![project, file.repository, file.path, placed], |row| row.get(0))?
                .collect::<Result<_, _>>()?,
        });
    }
    Ok(held)
}

/// Ids in every place, by file.
pub(super) fn ids(conn: &Connection, project: &str, of: &IdsOf) -> rusqlite::Result<Vec<PlacedIds>> {
    let id = project_id(conn, project)?;
    let mut found = Found::default();
    match of {
        IdsOf::Project => {
            found.add(
                conn,
                true,
                "SELECT place_id, chunks.id, repository, file_path
                 FROM targets JOIN files ON target_id = targets.id JOIN chunks ON file_id = files.id
                 WHERE project_id = ?1",
                params![id],
            )?;
            for table in ["intents", "leftovers"] {
                let sql =
                    format!("SELECT place_id, id, repository, file_path FROM {table} WHERE project = ?1");
                found.add(conn, false, &sql, params![project])?;
            }
        }
        IdsOf::Files(files) => {
            for file in files {
                found.add(
                    conn,
                    true,
                    "SELECT place_id, chunks.id, repository, file_path
                     FROM targets JOIN files ON target_id = targets.id JOIN chunks ON file_id = files.id
                     WHERE project_id = ?1 AND repository = ?2 AND file_path = ?3",
                    params![id, file.repository, file.path],
                )?;
                for table in ["intents", "leftovers"] {
                    let sql = format!(
                        "SELECT place_id, id, repository, file_path FROM {table}
                         WHERE project = ?1 AND repository = ?2 AND file_path = ?3"
                    );
                    found.add(conn, false, &sql, params![project, file.repository, file.path])?;
                }
            }
        }
        IdsOf::Leftovers => found.add(
            conn,
            false,
            "SELECT place_id, id, repository, file_path FROM leftovers WHERE project = ?1 AND NOT EXISTS (
                 SELECT 1 FROM project_rows JOIN targets ON project_id = project_rows.id
                 JOIN files ON target_id = targets.id
                 WHERE name = ?1 AND files.repository = leftovers.repository
                   AND files.file_path = leftovers.file_path AND status NOT IN ('synced', 'skipped'))",
            params![project],
        )?,
    }
    found.in_places(conn)
}

/// Ids by file and place, and whether the file is recorded as stored there.
#[derive(Default)]
struct Found(BTreeMap<(FileKey, i64), (bool, BTreeSet<String>)>);

impl Found {
    fn add(
        &mut self,
        conn: &Connection,
        recorded: bool,
        sql: &str,
        given: impl Params,
    ) -> rusqlite::Result<()> {
        let mut statement = conn.prepare_cached(sql)?;
        let mut rows = statement.query(given)?;
        while let Some(row) = rows.next()? {
            let file = FileKey { repository: row.get(2)?, path: row.get(3)? };
            let (is_recorded, ids) = self.0.entry((file, row.get(0)?)).or_default();
            *is_recorded |= recorded;
            ids.insert(row.get(1)?);
        }
        Ok(())
    }

    fn in_places(self, conn: &Connection) -> rusqlite::Result<Vec<PlacedIds>> {
        let mut places = Places::default();
        let placed = self.0.into_iter().map(|((file, place), (recorded, ids))| {
            Ok(PlacedIds { place: places.of(conn, place)?, file, recorded, ids: ids.into_iter().collect() })
        });
        placed.collect()
    }
}
