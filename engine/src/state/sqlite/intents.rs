//! Ids of which no file's row tells the truth: announced upserts and deletes, and what a move left
//! behind.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use super::{ProjectKey, SqliteState, touch};
use crate::model::{Fingerprint, StageResult};
use crate::state::ids::{FileKey, HeldIds, Leftover};

impl SqliteState {
    /// Records, durably, that records of these files are about to be written in a place, or deleted
    /// from it. One transaction for each upsert batch, before it is sent.
    pub(crate) fn open_intents<'a>(
        &self,
        project: &str,
        place: i64,
        files: impl IntoIterator<Item = (FileKey<'a>, Vec<&'a str>)>,
    ) -> StageResult<()> {
        self.write("record intents", |tx| {
            let mut insert =
                tx.prepare_cached("INSERT OR REPLACE INTO intents VALUES (?1, ?2, ?3, ?4, ?5)")?;
            for (file, ids) in files {
                for id in ids {
                    insert.execute(params![place, id, project, file.repository, file.path])?;
                }
            }
            drop(insert);
            touch(tx)
        })
    }

    /// What may be in `place` for a file.
    pub(crate) fn held_ids(
        &self,
        project: ProjectKey<'_>,
        place: i64,
        file: &FileKey<'_>,
    ) -> StageResult<HeldIds> {
        self.read("read a file's ids", |conn| {
            let chunks = conn
                .prepare_cached(
                    "SELECT chunks.id, chunks.fingerprint FROM sync_metadata JOIN chunks ON file_id = sync_metadata.id
                     WHERE project_id = ?1 AND repository = ?2 AND file_path = ?3 AND place_id = ?4",
                )?
                .query_map(params![project.0, file.repository, file.path, place], |row| {
                    Ok((row.get(0)?, Fingerprint::from_stored(row.get::<_, String>(1)?)))
                })?
                .collect::<Result<_, _>>()?;
            let mut open = open_ids(conn, "intents", project.1, place, file)?;
            open.extend(open_ids(conn, "leftovers", project.1, place, file)?);
            Ok(HeldIds { chunks, open })
        })
    }

    /// Files of a repository with open intents: whatever else the ledger says of them, they are to
    /// be written again. Holds paths of files that have no row.
    pub fn unfinished_files(&self, project: &str, repository: &str) -> StageResult<BTreeSet<String>> {
        self.read("read open intents", |conn| {
            conn.prepare_cached(
                "SELECT DISTINCT file_path FROM intents WHERE project = ?1 AND repository = ?2",
            )?
            .query_map(params![project, repository], |row| row.get(0))?
            .collect()
        })
    }

    /// How many intents are open for a project, in repositories of any name.
    pub fn open_intents_count(&self, project: &str) -> StageResult<u64> {
        self.read("count open intents", |conn| {
            conn.query_row("SELECT count(*) FROM intents WHERE project = ?1", [project], |row| row.get(0))
        })
    }

    /// All ids of a file in every place: its chunks, open intents and leftovers.
    pub(crate) fn all_ids(&self, project: ProjectKey<'_>, file: &FileKey<'_>) -> StageResult<Vec<Leftover>> {
        self.read("read a file's ids", |conn| {
            conn.prepare_cached(
                "SELECT place_id, chunks.id FROM sync_metadata JOIN chunks ON file_id = sync_metadata.id
                 WHERE project_id = ?1 AND repository = ?3 AND file_path = ?4
                 UNION SELECT place_id, id FROM intents WHERE project = ?2 AND repository = ?3 AND file_path = ?4
                 UNION SELECT place_id, id FROM leftovers WHERE project = ?2 AND repository = ?3 AND file_path = ?4",
            )?
            .query_map(params![project.0, project.1, file.repository, file.path], |row| {
                Ok(Leftover { place: row.get(0)?, id: row.get(1)? })
            })?
            .collect()
        })
    }

    /// Leftovers of a project that may be deleted, place by place: those of files that are whole where
    /// they are now, or gone.
    pub fn leftovers(&self, project: &str) -> StageResult<Vec<Leftover>> {
        self.read("read leftovers", |conn| {
            conn.prepare_cached(
                "SELECT place_id, id FROM leftovers WHERE project = ?1 AND NOT EXISTS (
                     SELECT 1 FROM sync_metadata JOIN projects ON projects.id = project_id
                     WHERE name = ?1 AND sync_metadata.repository = leftovers.repository
                       AND sync_metadata.file_path = leftovers.file_path AND status NOT IN ('synced', 'skipped'))
                 ORDER BY place_id, id",
            )?
            .query_map([project], |row| Ok(Leftover { place: row.get(0)?, id: row.get(1)? }))?
            .collect()
        })
    }

    /// Forgets leftovers that are out of their place.
    pub fn close_leftovers(&self, done: &[Leftover]) -> StageResult<()> {
        self.write("close leftovers", |tx| {
            let mut delete = tx.prepare_cached("DELETE FROM leftovers WHERE place_id = ?1 AND id = ?2")?;
            for leftover in done {
                delete.execute(params![leftover.place, leftover.id])?;
            }
            Ok(())
        })
    }
}

fn open_ids(
    conn: &Connection,
    table: &str,
    project: &str,
    place: i64,
    file: &FileKey<'_>,
) -> rusqlite::Result<BTreeSet<String>> {
    conn.prepare_cached(&format!(
        "SELECT id FROM {table} WHERE project = ?1 AND repository = ?2 AND file_path = ?3 AND place_id = ?4"
    ))?
    .query_map(params![project, file.repository, file.path, place], |row| row.get(0))?
    .collect()
}
