//! What the ledger says should be in a place, for `verify`.

use std::collections::BTreeMap;

use rusqlite::params;

use super::{ProjectKey, SqliteState};
use crate::model::StageResult;
use crate::state::file::FileIds;

impl SqliteState {
    /// Every id that may be in a place, of all projects: recorded ones, and those of open intents
    /// and leftovers.
    pub fn ids_in_place(&self, place: i64) -> StageResult<(Vec<String>, Vec<String>)> {
        self.read("read the ids of a place", |conn| {
            let ids = |sql: &str| -> rusqlite::Result<Vec<String>> {
                conn.prepare_cached(sql)?.query_map([place], |row| row.get(0))?.collect()
            };
            let recorded = ids(
                "SELECT chunks.id FROM sync_metadata JOIN chunks ON file_id = sync_metadata.id WHERE place_id = ?1",
            )?;
            let open = ids("SELECT id FROM intents WHERE place_id = ?1 UNION SELECT id FROM leftovers WHERE place_id = ?1")?;
            Ok((recorded, open))
        })
    }

    /// The ids that a project's files have in a place.
    pub fn ids_of_files(&self, project: i64, place: i64) -> StageResult<Vec<FileIds>> {
        self.read("read the ids of files", |conn| {
            let mut files: BTreeMap<i64, FileIds> = BTreeMap::new();
            let mut statement = conn.prepare_cached(
                "SELECT file_id, repository, file_path, chunks.id FROM sync_metadata JOIN chunks ON file_id = sync_metadata.id
                 WHERE project_id = ?1 AND place_id = ?2",
            )?;
            let mut rows = statement.query([project, place])?;
            while let Some(row) = rows.next()? {
                let (file, id): (i64, String) = (row.get(0)?, row.get(3)?);
                match files.get_mut(&file) {
                    Some(entry) => entry.ids.push(id),
                    None => {
                        files.insert(file, FileIds { repository: row.get(1)?, path: row.get(2)?, ids: vec![id] });
                    }
                }
            }
            Ok(files.into_values().collect())
        })
    }

    /// Files of a project in one repository that failed or have open work, for the listing shortcut.
    pub fn has_unsettled_files(&self, project: ProjectKey<'_>, repository: &str) -> StageResult<bool> {
        self.read("read unsettled files", |conn| {
            conn.query_row(
                "SELECT EXISTS (SELECT 1 FROM sync_metadata WHERE project_id = ?1 AND repository = ?3 AND status NOT IN ('synced', 'skipped'))
                     OR EXISTS (SELECT 1 FROM intents WHERE project = ?2 AND repository = ?3)",
                params![project.0, project.1, repository],
                |row| row.get(0),
            )
        })
    }
}
