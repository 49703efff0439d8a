//! What is known of one path, for `explain`.

use super::store::PostgresState;
use super::targets::place_at;
use crate::model::{FileFacts, StageResult};
use crate::postgres::Row;
use crate::state::file::FileStatus;

/// The files of a project with this path.
pub(super) async fn files(
    state: &PostgresState,
    project: &str,
    repository: Option<&str>,
    path: &str,
) -> StageResult<Vec<FileFacts>> {
    let rows = state
        .rows(
            "read what is known of a file",
            "SELECT file.repository, status, detail, blob_sha, last_commit_sha, last_synced_at,
                 (SELECT count(*) FROM chunks WHERE file_id = file.id),
                 kind, host, idx, places.namespace, parts,
                 (SELECT count(*) FROM intents WHERE intents.project = project_rows.name
                     AND intents.repository = file.repository AND intents.file_path = file.file_path)
             FROM project_rows JOIN targets ON project_id = project_rows.id
                 JOIN files AS file ON target_id = targets.id
                 LEFT JOIN places ON places.id = place_id AND (blob_sha IS NOT NULL OR embedding_count > 0)
                 LEFT JOIN recipes ON fingerprint = file.recipe
             WHERE project_rows.name = $1 AND file_path = $3 AND ($2 IS NULL OR file.repository = $2)
             ORDER BY file.repository",
            &[&project, &repository.map(str::to_owned), &path],
        )
        .await?;
    Ok(rows.iter().map(facts).collect())
}

fn facts(row: &Row) -> FileFacts {
    let sha = |column| row.get::<_, Option<&str>>(column).and_then(|text| text.parse().ok());
    FileFacts {
        repository: row.get(0),
        status: FileStatus::parse(row.get(1)).as_str(),
        detail: row.get(2),
        blob_sha: sha(3),
        commit: sha(4),
        synced_at: row.get(5),
        chunks: row.get::<_, i64>(6).unsigned_abs(),
        place: row.get::<_, Option<&str>>(7).map(|_| place_at(row, 7).to_string()),
        recipe: row.get::<_, Option<&str>>(11).and_then(|parts| serde_json::from_str(parts).ok()),
        open_intents: row.get::<_, i64>(12).unsigned_abs(),
    }
}
