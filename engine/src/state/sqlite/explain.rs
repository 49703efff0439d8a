//! What is known of one path, for `explain`.

use rusqlite::{Connection, params};

use super::rows::{parse_time, place_at};
use crate::model::FileFacts;
use crate::state::file::FileStatus;

/// The files of a project with this path.
pub(super) fn files(
    conn: &Connection,
    project: &str,
    repository: Option<&str>,
    path: &str,
) -> rusqlite::Result<Vec<FileFacts>> {
    conn.prepare_cached(
        "SELECT file.repository, status, detail, blob_sha, last_commit_sha, last_synced_at,
             (SELECT count(*) FROM chunks WHERE file_id = file.id),
             kind, host, idx, places.namespace, parts,
             (SELECT count(*) FROM intents WHERE intents.project = project_rows.name
                 AND intents.repository = file.repository AND intents.file_path = file.file_path)
         FROM project_rows JOIN targets ON project_id = project_rows.id JOIN files AS file ON target_id = targets.id
             LEFT JOIN places ON places.id = place_id
                 AND (blob_sha IS NOT NULL OR embedding_count > 0)
             LEFT JOIN recipes ON fingerprint = file.recipe
         WHERE project_rows.name = ?1 AND file_path = ?3 AND (?2 IS NULL OR file.repository = ?2)
         ORDER BY file.repository",
    )?
    .query_map(params![project, repository, path], |row| {
        let sha = |column| -> rusqlite::Result<_> {
            Ok(row.get::<_, Option<String>>(column)?.and_then(|text| text.parse().ok()))
        };
        let place = match row.get::<_, Option<String>>(7)? {
            Some(_) => Some(place_at(row, 7)?.to_string()),
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
            recipe: row.get::<_, Option<String>>(11)?.and_then(|parts| serde_json::from_str(&parts).ok()),
            open_intents: row.get(12)?,
        })
    })?
    .collect()
}
