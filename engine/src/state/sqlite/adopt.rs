//! Taking in what a place held before the ledger knew of it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, params};

use super::{ProjectKey, SqliteState, timestamp, touch};
use crate::model::{Place, StageResult};
use crate::state::file::AdoptedRecord;

impl SqliteState {
    /// True when what the place held of the project has been taken in, whole.
    pub fn is_adopted(&self, project: i64, place: i64) -> StageResult<bool> {
        self.read("read a place", |conn| {
            conn.query_row(
                "SELECT 1 FROM adoptions WHERE project_id = ?1 AND place_id = ?2",
                params![project, place],
                |_| Ok(()),
            )
            .optional()
            .map(|row| row.is_some())
        })
    }

    /// The projects that hold something in a place, or held it before they left the file.
    pub fn owners_of_place(&self, place: &Place) -> StageResult<Vec<String>> {
        self.read("read a place's projects", |conn| {
            conn.prepare_cached(
                "SELECT name FROM projects WHERE id IN (
                     SELECT project_id FROM adoptions JOIN places ON places.id = place_id
                     WHERE kind = ?1 AND host = ?2 AND idx = ?3 AND places.namespace = ?4
                     UNION SELECT project_id FROM sync_metadata JOIN places ON places.id = place_id
                     WHERE kind = ?1 AND host = ?2 AND idx = ?3 AND places.namespace = ?4)
                 ORDER BY name",
            )?
            .query_map(params![place.kind, place.host, place.index, place.namespace], |row| row.get(0))?
            .collect()
        })
    }

    /// Takes in what a place holds of a project, and marks the place as known, in one transaction.
    ///
    /// A file that the ledger does not know gets a row of status `adopted`: its chunks are there, but
    /// whether they are what its content gives is still to be seen. Of a file that it knows (in
    /// another place), the found ids become leftovers of this place: the next write replaces or
    /// deletes them.
    pub fn adopt(
        &self,
        project: ProjectKey<'_>,
        place: i64,
        records: Vec<AdoptedRecord>,
        now: DateTime<Utc>,
    ) -> StageResult<()> {
        let mut files: BTreeMap<(String, String), Vec<AdoptedRecord>> = BTreeMap::new();
        for record in records {
            files.entry((record.repository.clone(), record.path.clone())).or_default().push(record);
        }
        self.write("take in what the store holds", |tx| {
            for ((repository, path), records) in &files {
                let row: Option<i64> = tx
                    .prepare_cached(
                        "INSERT INTO sync_metadata (project_id, repository, file_path, embedding_count, status, place_id)
                         VALUES (?1, ?2, ?3, ?4, 'adopted', ?5)
                         ON CONFLICT DO NOTHING RETURNING id",
                    )?
                    .query_row(params![project.0, repository, path, records.len(), place], |row| row.get(0))
                    .optional()?;
                for record in records {
                    match row {
                        Some(file) => tx
                            .prepare_cached("INSERT OR REPLACE INTO chunks VALUES (?1, ?2, ?3)")?
                            .execute(params![file, record.id, record.fingerprint.as_str()])?,
                        None => tx
                            .prepare_cached("INSERT OR IGNORE INTO leftovers VALUES (?1, ?2, ?3, ?4, ?5)")?
                            .execute(params![place, record.id, project.1, repository, path])?,
                    };
                }
                tx.prepare_cached("INSERT OR IGNORE INTO repositories (project_id, name, key) VALUES (?1, ?2, '')")?
                    .execute(params![project.0, repository])?;
            }
            tx.execute(
                "INSERT OR IGNORE INTO adoptions VALUES (?1, ?2, ?3)",
                params![project.0, place, timestamp(now)],
            )?;
            touch(tx)
        })
    }
}
