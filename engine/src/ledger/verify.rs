//! What the ledger says should be in a place, for `verify` and `status`.

use std::collections::BTreeMap;

use rusqlite::params;

use super::{FileStatus, Ledger, ProjectKey};
use crate::model::StageResult;

/// The ids of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileIds {
    /// The repository.
    pub repository: String,
    /// The path.
    pub path: String,
    /// The ids.
    pub ids: Vec<String>,
}

/// A project's files, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct ProjectTotals {
    /// Files in the index.
    pub files: u64,
    /// Their vectors.
    pub vectors: u64,
    /// Files whose last try failed: repository, path, error; the first 100.
    pub failed: Vec<(String, String, String)>,
    /// How many files failed.
    pub failed_files: u64,
    /// Open intents.
    pub open_intents: u64,
    /// Vectors left behind in places that no run could clean yet.
    pub leftovers: u64,
}

impl Ledger {
    /// Every id that the ledger believes to be in a place, file by file, of all projects. Ids of
    /// open intents and leftovers are in `1`: they may be there, or not.
    pub fn ids_in_place(&self, place: i64) -> StageResult<(Vec<FileIds>, Vec<String>)> {
        self.read("read the ids of a place", |conn| {
            let mut files: BTreeMap<i64, FileIds> = BTreeMap::new();
            let mut statement = conn.prepare_cached(
                "SELECT file_id, repository, file_path, chunks.id FROM sync_metadata JOIN chunks ON file_id = sync_metadata.id
                 WHERE place_id = ?1",
            )?;
            let mut rows = statement.query([place])?;
            while let Some(row) = rows.next()? {
                let file: i64 = row.get(0)?;
                let id: String = row.get(3)?;
                match files.get_mut(&file) {
                    Some(entry) => entry.ids.push(id),
                    None => {
                        files.insert(file, FileIds { repository: row.get(1)?, path: row.get(2)?, ids: vec![id] });
                    }
                }
            }
            let open = conn
                .prepare_cached("SELECT id FROM intents WHERE place_id = ?1 UNION SELECT id FROM leftovers WHERE place_id = ?1")?
                .query_map([place], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            Ok((files.into_values().collect(), open))
        })
    }

    /// A project's files, counted.
    pub fn totals(&self, project: ProjectKey<'_>) -> StageResult<ProjectTotals> {
        self.read("count files", |conn| {
            let (files, vectors) = conn.query_row(
                "SELECT count(*), coalesce(sum(embedding_count), 0) FROM sync_metadata WHERE project_id = ?1 AND embedding_count > 0",
                [project.0],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            let failed_files = conn.query_row(
                "SELECT count(*) FROM sync_metadata WHERE project_id = ?1 AND status = ?2",
                params![project.0, FileStatus::Failed.as_str()],
                |row| row.get(0),
            )?;
            let failed = conn
                .prepare_cached(
                    "SELECT repository, file_path, coalesce(detail, '') FROM sync_metadata
                     WHERE project_id = ?1 AND status = ?2 ORDER BY repository, file_path LIMIT 100",
                )?
                .query_map(params![project.0, FileStatus::Failed.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect::<Result<_, _>>()?;
            let count = |table: &str| {
                conn.query_row(&format!("SELECT count(*) FROM {table} WHERE project = ?1"), [project.1], |row| row.get(0))
            };
            Ok(ProjectTotals { files, vectors, failed, failed_files, open_intents: count("intents")?, leftovers: count("leftovers")? })
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
