//! Files and their chunks: what the index holds of each.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::rows::{entered, place_id, project_id, put_place, timestamp, touch, touch_all};
use super::store::SqliteState;
use super::targets::{of_project, put_target, target_id};
use super::{explain, ids};
use crate::model::{FileFacts, Fingerprint, GitSha, Place, StageResult};
use crate::state::fence::Fence;
use crate::state::file::{BlobFile, Damaged, FileRow, FileStatus, Files, KnownFile, KnownFiles};
use crate::state::ids::{FileIds, FileKey, HeldIds, IdsOf, PlacedIds};

#[async_trait]
impl Files for SqliteState {
    async fn known_files(&self, project: &str, repository: &str, place: &Place) -> StageResult<KnownFiles> {
        let (project, repository, place) = (project.to_owned(), repository.to_owned(), place.clone());
        self.read("read the known files", move |conn| known_files(conn, &project, &repository, &place)).await
    }

    async fn held_ids_many(
        &self,
        project: &str,
        place: &Place,
        files: Vec<FileKey>,
    ) -> StageResult<Vec<HeldIds>> {
        let (project, place) = (project.to_owned(), place.clone());
        self.read("read the ids of files", move |conn| ids::held(conn, &project, &place, &files)).await
    }

    async fn ids(&self, project: &str, of: IdsOf) -> StageResult<Vec<PlacedIds>> {
        let project = project.to_owned();
        self.read("read ids", move |conn| ids::ids(conn, &project, &of)).await
    }

    async fn open_intents(
        &self,
        fence: Fence,
        project: &str,
        place: &Place,
        intents: Vec<FileIds>,
    ) -> StageResult<()> {
        let (project, place) = (project.to_owned(), place.clone());
        self.write(fence, "record intents", move |conn| ids::open_intents(conn, &project, &place, &intents))
            .await
    }

    async fn commit_files(
        &self,
        fence: Fence,
        project: &str,
        place: &Place,
        rows: Vec<FileRow>,
        now: DateTime<Utc>,
    ) -> StageResult<()> {
        let (project, place) = (project.to_owned(), place.clone());
        self.write(fence, "record files", move |conn| {
            let (id, now) = (entered(conn, &project)?, timestamp(now));
            let to = Destination { target: put_target(conn, id, &place)?, place: put_place(conn, &place)? };
            for row in &rows {
                commit_file(conn, (id, &project), to, row, &now)?;
            }
            touch_all(conn, id, rows.iter().map(|row| row.file.repository.as_str()))
        })
        .await
    }

    async fn record_failure(
        &self,
        fence: Fence,
        project: &str,
        place: &Place,
        file: &FileKey,
        error: &str,
    ) -> StageResult<()> {
        let (project, place) = (project.to_owned(), place.clone());
        let (file, error) = (file.clone(), error.to_owned());
        self.write(fence, "record a failed file", move |conn| {
            let id = entered(conn, &project)?;
            // What the index holds of it stays where it is.
            let target = match recorded(conn, id, &file)? {
                Some(recorded) => recorded.target,
                None => put_target(conn, id, &place)?,
            };
            conn.prepare_cached(
                "INSERT INTO files (target_id, repository, file_path, embedding_count, status, detail)
                 VALUES (?1, ?2, ?3, 0, 'failed', ?4)
                 ON CONFLICT (target_id, repository, file_path) DO UPDATE SET status = 'failed', detail = excluded.detail",
            )?
            .execute(params![target, file.repository, file.path, error])?;
            touch(conn, id, &file.repository)
        })
        .await
    }

    async fn mark_damaged(&self, fence: Fence, project: &str, files: Damaged) -> StageResult<()> {
        let project = project.to_owned();
        self.write(fence, "mark damaged files", move |conn| {
            let id = entered(conn, &project)?;
            match files {
                Damaged::All => damage_all(conn, id),
                Damaged::Files(files) => damage(conn, id, &files),
            }
        })
        .await
    }

    async fn remove_files(
        &self,
        fence: Fence,
        project: &str,
        files: Vec<FileKey>,
        left: Vec<PlacedIds>,
    ) -> StageResult<()> {
        let project = project.to_owned();
        self.write(fence, "remove files", move |conn| remove(conn, &project, &files, &left)).await
    }

    async fn close_leftovers(
        &self,
        fence: Fence,
        project: &str,
        place: &Place,
        ids: Vec<String>,
    ) -> StageResult<()> {
        let (project, place) = (project.to_owned(), place.clone());
        self.write(fence, "close leftovers", move |conn| {
            let place = place_id(conn, &place)?;
            let mut delete = conn
                .prepare_cached("DELETE FROM leftovers WHERE place_id = ?1 AND id = ?2 AND project = ?3")?;
            for id in ids {
                delete.execute(params![place, id, project])?;
            }
            Ok(())
        })
        .await
    }

    async fn files_of_blobs(&self, project: &str, blobs: Vec<GitSha>) -> StageResult<Vec<BlobFile>> {
        let project = project.to_owned();
        self.read("look for known contents", move |conn| files_of_blobs(conn, &project, blobs)).await
    }

    async fn recipes(&self, recipes: Vec<Fingerprint>) -> StageResult<HashMap<Fingerprint, String>> {
        self.read("read recipes", move |conn| {
            let mut select = conn.prepare_cached("SELECT parts FROM recipes WHERE fingerprint = ?1")?;
            let mut found = HashMap::new();
            for recipe in recipes {
                if let Some(parts) = select.query_row([recipe.as_str()], |row| row.get(0)).optional()? {
                    found.insert(recipe, parts);
                }
            }
            Ok(found)
        })
        .await
    }

    async fn record_recipes(&self, fence: Fence, recipes: Vec<(Fingerprint, String)>) -> StageResult<()> {
        self.write(fence, "record recipes", move |conn| {
            let mut insert = conn.prepare_cached("INSERT OR IGNORE INTO recipes VALUES (?1, ?2)")?;
            for (fingerprint, parts) in recipes {
                insert.execute(params![fingerprint.as_str(), parts])?;
            }
            Ok(())
        })
        .await
    }

    async fn explain_file(
        &self,
        project: &str,
        repository: Option<&str>,
        path: &str,
    ) -> StageResult<Vec<FileFacts>> {
        let (project, repository, path) =
            (project.to_owned(), repository.map(str::to_owned), path.to_owned());
        self.read("read what is known of a file", move |conn| {
            explain::files(conn, &project, repository.as_deref(), &path)
        })
        .await
    }
}

fn known_files(
    conn: &Connection,
    project: &str,
    repository: &str,
    place: &Place,
) -> rusqlite::Result<KnownFiles> {
    let Some(id) = project_id(conn, project)? else { return Ok(KnownFiles::default()) };
    let target = target_id(conn, id, place)?;
    let files = conn
        .prepare_cached(concat!(
            "SELECT file_path, blob_sha, recipe, target_id, embedding_count, status, detail FROM files WHERE ",
            of_project!(),
            " AND repository = ?2 ORDER BY file_path"
        ))?
        .query_map(params![id, repository], |row| known_file(row, target))?
        .collect::<Result<_, _>>()?;
    let unfinished = conn
        .prepare_cached("SELECT DISTINCT file_path FROM intents WHERE project = ?1 AND repository = ?2")?
        .query_map(params![project, repository], |row| row.get(0))?
        .collect::<Result<BTreeSet<String>, _>>()?;
    Ok(KnownFiles { files, unfinished })
}

fn files_of_blobs(conn: &Connection, project: &str, blobs: Vec<GitSha>) -> rusqlite::Result<Vec<BlobFile>> {
    let Some(id) = project_id(conn, project)? else { return Ok(Vec::new()) };
    let mut select = conn.prepare_cached(concat!(
        "SELECT recipe, repository, file_path FROM files WHERE ",
        of_project!(),
        " AND blob_sha = ?2 AND embedding_count > 0"
    ))?;
    let mut found = Vec::new();
    for blob in blobs {
        let mut rows = select.query(params![id, blob.to_string()])?;
        while let Some(row) = rows.next()? {
            found.push(BlobFile {
                blob,
                recipe: row.get::<_, Option<String>>(0)?.map(Fingerprint::from_stored),
                file: FileKey { repository: row.get(1)?, path: row.get(2)? },
            });
        }
    }
    Ok(found)
}

fn damage(conn: &Connection, project: i64, files: &[FileKey]) -> rusqlite::Result<()> {
    let mut statuses = conn.prepare_cached(concat!(
        "UPDATE files SET status = 'damaged' WHERE ",
        of_project!(),
        " AND repository = ?2 AND file_path = ?3"
    ))?;
    // What is missing in the store must not be taken for being there.
    let mut chunks = conn.prepare_cached(concat!(
        "UPDATE chunks SET fingerprint = '' WHERE file_id IN (SELECT id FROM files WHERE ",
        of_project!(),
        " AND repository = ?2 AND file_path = ?3)"
    ))?;
    for file in files {
        let key = params![project, file.repository, file.path];
        statuses.execute(key)?;
        chunks.execute(key)?;
    }
    let mut unsettled = conn.prepare_cached(
        "UPDATE repositories SET settled = 0, revision = revision + 1 WHERE project_id = ?1 AND name = ?2",
    )?;
    let repositories: BTreeSet<&str> = files.iter().map(|file| file.repository.as_str()).collect();
    for repository in repositories {
        unsettled.execute(params![project, repository])?;
    }
    Ok(())
}

fn damage_all(conn: &Connection, project: i64) -> rusqlite::Result<()> {
    conn.execute(concat!("UPDATE files SET status = 'damaged' WHERE ", of_project!()), [project])?;
    conn.execute(
        "UPDATE repositories SET settled = 0, revision = revision + 1 WHERE project_id = ?1",
        [project],
    )?;
    conn.execute(
        concat!(
            "UPDATE chunks SET fingerprint = '' WHERE file_id IN (SELECT id FROM files WHERE ",
            of_project!(),
            ")"
        ),
        [project],
    )
    .map(drop)
}

fn remove(conn: &Connection, project: &str, files: &[FileKey], left: &[PlacedIds]) -> rusqlite::Result<()> {
    let id = entered(conn, project)?;
    for FileKey { repository, path } in files {
        conn.prepare_cached(concat!(
            "DELETE FROM files WHERE ",
            of_project!(),
            " AND repository = ?2 AND file_path = ?3"
        ))?
        .execute(params![id, repository, path])?;
        close_intents(conn, project, repository, path)?;
        conn.prepare_cached(
            "DELETE FROM leftovers WHERE project = ?1 AND repository = ?2 AND file_path = ?3",
        )?
        .execute(params![project, repository, path])?;
    }
    let mut keep = conn.prepare_cached("INSERT OR IGNORE INTO leftovers VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for PlacedIds { place, file, ids, .. } in left {
        let place = put_place(conn, place)?;
        for one in ids {
            keep.execute(params![place, one, project, file.repository, file.path])?;
        }
    }
    touch_all(conn, id, files.iter().map(|file| file.repository.as_str()))
}

fn known_file(row: &Row<'_>, target: Option<i64>) -> rusqlite::Result<KnownFile> {
    let blob: Option<String> = row.get(1)?;
    let recipe: Option<String> = row.get(2)?;
    let status: String = row.get(5)?;
    Ok(KnownFile {
        path: row.get(0)?,
        blob_sha: blob.and_then(|text| text.parse().ok()),
        recipe: recipe.map(Fingerprint::from_stored),
        in_place: Some(row.get::<_, i64>(3)?) == target,
        vectors: row.get(4)?,
        status: FileStatus::parse(&status),
        detail: row.get(6)?,
    })
}

/// The row of a file, in whichever target it is.
struct RecordedFile {
    id: i64,
    target: i64,
}

fn recorded(conn: &Connection, project: i64, file: &FileKey) -> rusqlite::Result<Option<RecordedFile>> {
    conn.prepare_cached(concat!(
        "SELECT id, target_id FROM files WHERE ",
        of_project!(),
        " AND repository = ?2 AND file_path = ?3"
    ))?
    .query_row(params![project, file.repository, file.path], |row| {
        Ok(RecordedFile { id: row.get(0)?, target: row.get(1)? })
    })
    .optional()
}

/// Where files are recorded: the target, and its place.
#[derive(Clone, Copy)]
struct Destination {
    target: i64,
    place: i64,
}

fn commit_file(
    conn: &Connection,
    (project_id, project_name): (i64, &str),
    Destination { target, place }: Destination,
    row: &FileRow,
    now: &str,
) -> rusqlite::Result<()> {
    if let Some(known) = recorded(conn, project_id, &row.file)?
        && known.target != target
    {
        conn.prepare_cached(
            "INSERT OR IGNORE INTO leftovers
             SELECT (SELECT place_id FROM targets WHERE id = ?1), id, ?3, ?4, ?5 FROM chunks WHERE file_id = ?2",
        )?
        .execute(params![known.target, known.id, project_name, row.file.repository, row.file.path])?;
        conn.prepare_cached("UPDATE files SET target_id = ?2 WHERE id = ?1")?.execute([known.id, target])?;
    }
    // An interrupted upsert to another place may have left vectors there.
    conn.prepare_cached(
        "INSERT OR IGNORE INTO leftovers SELECT place_id, id, project, repository, file_path FROM intents
         WHERE project = ?1 AND repository = ?2 AND file_path = ?3 AND place_id <> ?4",
    )?
    .execute(params![project_name, row.file.repository, row.file.path, place])?;
    close_intents(conn, project_name, &row.file.repository, &row.file.path)?;
    // Back in a place it had left: what was left there was replaced or deleted with this write.
    conn.prepare_cached(
        "DELETE FROM leftovers WHERE place_id = ?1 AND project = ?2 AND repository = ?3 AND file_path = ?4",
    )?
    .execute(params![place, project_name, row.file.repository, row.file.path])?;

    let file: i64 = conn
        .prepare_cached(
            "INSERT INTO files (target_id, repository, file_path, last_commit_sha, last_synced_at,
                 embedding_count, status, blob_sha, recipe, detail)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
             ON CONFLICT (target_id, repository, file_path) DO UPDATE SET
                 last_commit_sha = excluded.last_commit_sha, last_synced_at = excluded.last_synced_at,
                 embedding_count = excluded.embedding_count, status = excluded.status, blob_sha = excluded.blob_sha,
                 recipe = excluded.recipe, detail = excluded.detail
             RETURNING id",
        )?
        .query_row(
            params![
                target,
                row.file.repository,
                row.file.path,
                row.commit.to_string(),
                now,
                row.chunks.len(),
                row.status.as_str(),
                row.blob_sha.to_string(),
                row.recipe.as_str(),
                row.detail,
            ],
            |row| row.get(0),
        )?;
    conn.prepare_cached("DELETE FROM chunks WHERE file_id = ?1")?.execute([file])?;
    let mut insert = conn.prepare_cached("INSERT INTO chunks VALUES (?1, ?2, ?3)")?;
    for chunk in &row.chunks {
        insert.execute(params![file, chunk.id, chunk.fingerprint.as_str()])?;
    }
    Ok(())
}

fn close_intents(conn: &Connection, project: &str, repository: &str, path: &str) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM intents WHERE project = ?1 AND repository = ?2 AND file_path = ?3")?
        .execute(params![project, repository, path])
        .map(drop)
}
