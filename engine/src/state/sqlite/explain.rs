//! What is known of one path, for `explain`.

use rusqlite::params;

use super::repositories::parse_time;
use super::{ProjectKey, SqliteState};
use crate::model::{FileFacts, Place, StageResult};
use crate::state::file::FileStatus;

impl SqliteState {
    /// The files of a project with this path, in one repository or in all of them, by repository.
    pub fn explain_file(
        &self,
        project: ProjectKey<'_>,
        repository: Option<&str>,
        path: &str,
    ) -> StageResult<Vec<FileFacts>> {
        self.read("read what is known of a file", |conn| {
            conn.prepare_cached(
                "SELECT file.repository, status, detail, blob_sha, last_commit_sha, last_synced_at,
                     (SELECT count(*) FROM chunks WHERE file_id = file.id),
                     kind, host, idx, namespace, parts,
                     (SELECT count(*) FROM intents WHERE intents.project = ?2
                         AND intents.repository = file.repository AND intents.file_path = file.file_path)
                 FROM sync_metadata AS file LEFT JOIN places ON places.id = place_id
                     LEFT JOIN recipes ON fingerprint = recipe
                 WHERE project_id = ?1 AND file_path = ?4 AND (?3 IS NULL OR file.repository = ?3)
                 ORDER BY file.repository",
            )?
            .query_map(params![project.0, project.1, repository, path], |row| {
                let sha = |column| -> rusqlite::Result<_> {
                    Ok(row.get::<_, Option<String>>(column)?.and_then(|text| text.parse().ok()))
                };
                let place = match row.get(7)? {
                    Some(kind) => Some(
                        Place { kind, host: row.get(8)?, index: row.get(9)?, namespace: row.get(10)? }
                            .to_string(),
                    ),
                    None => None,
                };
                Ok(FileFacts {
                    repository: row.get(0)?,
                    status: FileStatus::parse(&row.get::<_, String>(1)?).as_str(),
                    detail: row.get(2)?,
                    blob_sha: sha(3)?,
                    commit: sha(4)?,
                    synced_at: parse_time(row.get(5)?),
                    chunks: row.get(6)?,
                    place,
                    recipe: row
                        .get::<_, Option<String>>(11)?
                        .and_then(|parts| serde_json::from_str(&parts).ok()),
                    open_intents: row.get(12)?,
                })
            })?
            .collect()
        })
    }
}
