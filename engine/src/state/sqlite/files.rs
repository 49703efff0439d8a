//! Files and their chunks: what the index holds of each.

use std::collections::HashSet;

use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::{ProjectKey, SqliteState, timestamp, touch};
use crate::model::{Fingerprint, GitSha, StageResult};
use crate::state::file::{FileRow, FileStatus, KnownFile};
use crate::state::ids::Leftover;

impl SqliteState {
    /// All files of a repository, by path.
    pub fn known_files(&self, project: i64, repository: &str) -> StageResult<Vec<KnownFile>> {
        self.read("read the known files", |conn| {
            let mut statement = conn.prepare_cached(
                "SELECT file_path, blob_sha, recipe, place_id, embedding_count, status, detail FROM sync_metadata
                 WHERE project_id = ?1 AND repository = ?2 ORDER BY file_path",
            )?;
            statement.query_map(params![project, repository], known_file)?.collect()
        })
    }

    /// Records files as done, in one transaction: their rows and chunks are replaced and their
    /// intents closed. Ids that a file leaves behind in another place become leftovers.
    pub fn commit_files(
        &self,
        project: ProjectKey<'_>,
        place: i64,
        rows: &[FileRow],
        now: chrono::DateTime<chrono::Utc>,
    ) -> StageResult<()> {
        let now = timestamp(now);
        self.write("record files", |tx| {
            for row in rows {
                commit_file(tx, project, place, row, &now)?;
            }
            touch(tx)
        })
    }

    /// Records that a file's last try failed. What the index holds of it stays recorded.
    pub fn record_failure(&self, project: i64, repository: &str, path: &str, error: &str) -> StageResult<()> {
        self.write("record a failed file", |tx| {
            tx.execute(
                "INSERT INTO sync_metadata (project_id, repository, file_path, embedding_count, status, detail)
                 VALUES (?1, ?2, ?3, 0, 'failed', ?4)
                 ON CONFLICT (project_id, repository, file_path) DO UPDATE SET status = 'failed', detail = excluded.detail",
                params![project, repository, path, error],
            )?;
            touch(tx)
        })
    }

    /// Marks files as damaged: the next run that selects them writes all their records again.
    pub fn mark_damaged(&self, project: i64, files: &[(String, String)]) -> StageResult<()> {
        self.write("mark damaged files", |tx| {
            for (repository, path) in files {
                tx.execute(
                    "UPDATE sync_metadata SET status = 'damaged' WHERE project_id = ?1 AND repository = ?2 AND file_path = ?3",
                    params![project, repository, path],
                )?;
                tx.execute("UPDATE repositories SET settled = 0 WHERE project_id = ?1 AND name = ?2", params![project, repository])?;
                // What is missing in the store must not be taken for being there.
                tx.execute(
                    "UPDATE chunks SET fingerprint = '' WHERE file_id =
                     (SELECT id FROM sync_metadata WHERE project_id = ?1 AND repository = ?2 AND file_path = ?3)",
                    params![project, repository, path],
                )?;
            }
            touch(tx)
        })
    }

    /// Marks all files of a project as damaged: its removal begins.
    pub fn mark_project_damaged(&self, project: i64) -> StageResult<()> {
        self.write("mark a project's files", |tx| {
            tx.execute("UPDATE sync_metadata SET status = 'damaged' WHERE project_id = ?1", [project])?;
            tx.execute("UPDATE repositories SET settled = 0 WHERE project_id = ?1", [project])?;
            tx.execute(
                "UPDATE chunks SET fingerprint = '' WHERE file_id IN
                 (SELECT id FROM sync_metadata WHERE project_id = ?1)",
                [project],
            )?;
            touch(tx)
        })
    }

    /// Forgets files whose vectors are out of the store; `left` are those that could not be reached
    /// and stay to be deleted.
    pub fn remove_files(
        &self,
        project: ProjectKey<'_>,
        files: &[(String, String)],
        left: &[(Leftover, String, String)],
    ) -> StageResult<()> {
        self.write("remove files", |tx| {
            for (repository, path) in files {
                tx.prepare_cached(
                    "DELETE FROM sync_metadata WHERE project_id = ?1 AND repository = ?2 AND file_path = ?3",
                )?
                .execute(params![project.0, repository, path])?;
                close_intents(tx, project.1, repository, path)?;
                tx.prepare_cached(
                    "DELETE FROM leftovers WHERE project = ?1 AND repository = ?2 AND file_path = ?3",
                )?
                .execute(params![project.1, repository, path])?;
            }
            for (leftover, repository, path) in left {
                tx.prepare_cached("INSERT OR IGNORE INTO leftovers VALUES (?1, ?2, ?3, ?4, ?5)")?
                    .execute(params![leftover.place, leftover.id, project.1, repository, path])?;
            }
            touch(tx)
        })
    }

    /// Files of a project that hold a blob's content: repository and path of each.
    pub fn files_of_blob(&self, project: i64, blob: GitSha) -> StageResult<Vec<(String, String)>> {
        self.read("look for a file's successor", |conn| {
            conn.prepare_cached(
                "SELECT repository, file_path FROM sync_metadata WHERE project_id = ?1 AND blob_sha = ?2 AND embedding_count > 0",
            )?
            .query_map(params![project, blob.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
        })
    }

    /// Those of the contents, each with a recipe, that the index holds for a project.
    pub fn held_contents(
        &self,
        project: i64,
        contents: Vec<(GitSha, Fingerprint)>,
    ) -> StageResult<HashSet<(GitSha, Fingerprint)>> {
        self.read("look for known contents", |conn| {
            let mut held = conn.prepare_cached(
                "SELECT 1 FROM sync_metadata
                 WHERE project_id = ?1 AND blob_sha = ?2 AND recipe = ?3 AND embedding_count > 0",
            )?;
            let mut known = HashSet::new();
            for (blob, recipe) in contents {
                if held.exists(params![project, blob.to_string(), recipe.as_str()])? {
                    known.insert((blob, recipe));
                }
            }
            Ok(known)
        })
    }

    /// What became of recipes: which parts the recipe of a fingerprint was made of, as JSON.
    pub fn recipe_parts(&self, recipe: &Fingerprint) -> StageResult<Option<String>> {
        self.read("read a recipe", |conn| {
            conn.query_row("SELECT parts FROM recipes WHERE fingerprint = ?1", [recipe.as_str()], |row| {
                row.get(0)
            })
            .optional()
        })
    }

    /// Remembers what recipes are made of.
    pub fn remember_recipes(&self, recipes: &[(Fingerprint, String)]) -> StageResult<()> {
        self.write("remember recipes", |tx| {
            for (fingerprint, parts) in recipes {
                tx.execute(
                    "INSERT OR IGNORE INTO recipes VALUES (?1, ?2)",
                    params![fingerprint.as_str(), parts],
                )?;
            }
            Ok(())
        })
    }

    /// How many vectors the index holds for a project.
    pub fn vector_count(&self, project: i64) -> StageResult<u64> {
        self.read("count vectors", |conn| {
            conn.query_row(
                "SELECT coalesce(sum(embedding_count), 0) FROM sync_metadata WHERE project_id = ?1",
                [project],
                |row| row.get(0),
            )
        })
    }
}

fn known_file(row: &Row<'_>) -> rusqlite::Result<KnownFile> {
    let blob: Option<String> = row.get(1)?;
    let recipe: Option<String> = row.get(2)?;
    let status: String = row.get(5)?;
    Ok(KnownFile {
        path: row.get(0)?,
        blob_sha: blob.and_then(|text| text.parse().ok()),
        recipe: recipe.map(Fingerprint::from_stored),
        place: row.get(3)?,
        vectors: row.get(4)?,
        status: FileStatus::parse(&status),
        detail: row.get(6)?,
    })
}

fn commit_file(
    tx: &Transaction<'_>,
    project: ProjectKey<'_>,
    place: i64,
    row: &FileRow,
    now: &str,
) -> rusqlite::Result<()> {
    let (project_id, project_name) = project;
    let known: Option<(i64, Option<i64>)> = tx
        .prepare_cached("SELECT id, place_id FROM sync_metadata WHERE project_id = ?1 AND repository = ?2 AND file_path = ?3")?
        .query_row(params![project_id, row.repository, row.path], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some((file, Some(old_place))) = known
        && old_place != place
    {
        tx.prepare_cached(
            "INSERT OR IGNORE INTO leftovers SELECT ?1, id, ?3, ?4, ?5 FROM chunks WHERE file_id = ?2",
        )?
        .execute(params![old_place, file, project_name, row.repository, row.path])?;
    }
    // An interrupted upsert to another place may have left vectors there.
    tx.prepare_cached(
        "INSERT OR IGNORE INTO leftovers SELECT place_id, id, project, repository, file_path FROM intents
         WHERE project = ?1 AND repository = ?2 AND file_path = ?3 AND place_id <> ?4",
    )?
    .execute(params![project_name, row.repository, row.path, place])?;
    close_intents(tx, project_name, &row.repository, &row.path)?;
    // Back in a place it had left: what was left there was replaced or deleted with this write.
    tx.prepare_cached(
        "DELETE FROM leftovers WHERE place_id = ?1 AND project = ?2 AND repository = ?3 AND file_path = ?4",
    )?
    .execute(params![place, project_name, row.repository, row.path])?;

    let file: i64 = tx
        .prepare_cached(
            "INSERT INTO sync_metadata (project_id, repository, file_path, last_commit_sha, last_synced_at,
                 embedding_count, status, blob_sha, recipe, place_id, detail)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT (project_id, repository, file_path) DO UPDATE SET
                 last_commit_sha = excluded.last_commit_sha, last_synced_at = excluded.last_synced_at,
                 embedding_count = excluded.embedding_count, status = excluded.status, blob_sha = excluded.blob_sha,
                 recipe = excluded.recipe, place_id = excluded.place_id, detail = excluded.detail
             RETURNING id",
        )?
        .query_row(
            params![
                project_id,
                row.repository,
                row.path,
                row.commit.to_string(),
                now,
                row.chunks.len(),
                row.status.as_str(),
                row.blob_sha.to_string(),
                row.recipe.as_str(),
                place,
                row.detail,
            ],
            |row| row.get(0),
        )?;
    tx.prepare_cached("DELETE FROM chunks WHERE file_id = ?1")?.execute([file])?;
    let mut insert = tx.prepare_cached("INSERT INTO chunks VALUES (?1, ?2, ?3)")?;
    for chunk in &row.chunks {
        insert.execute(params![file, chunk.id, chunk.fingerprint.as_str()])?;
    }
    Ok(())
}

fn close_intents(tx: &Transaction<'_>, project: &str, repository: &str, path: &str) -> rusqlite::Result<()> {
    tx.prepare_cached("DELETE FROM intents WHERE project = ?1 AND repository = ?2 AND file_path = ?3")?
        .execute(params![project, repository, path])
        .map(drop)
}
