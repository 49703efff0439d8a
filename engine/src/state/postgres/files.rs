//! Files and their chunks: what the index holds of each.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::store::{PostgresState, read, text, write};
use super::targets::{
    Numbers, entered, given, of_project, place_id, project_id, put_place, put_target, split, target, touch,
};
use super::{explain, ids};
use crate::model::{FileFacts, Fingerprint, GitSha, Place, StageResult};
use crate::postgres::{Failure, Row, Transaction};
use crate::state::fence::Fence;
use crate::state::file::{BlobFile, Damaged, FileRow, FileStatus, Files, KnownFile, KnownFiles};
use crate::state::ids::{FileIds, FileKey, HeldIds, IdsOf, PlacedIds};

#[async_trait]
impl Files for PostgresState {
    async fn known_files(&self, project: &str, repository: &str, place: &Place) -> StageResult<KnownFiles> {
        read!(self, "read the known files", tx => known_files(&tx, project, repository, place).await?)
    }

    async fn held_ids_many(
        &self,
        project: &str,
        place: &Place,
        files: Vec<FileKey>,
    ) -> StageResult<Vec<HeldIds>> {
        read!(self, "read the ids of files", tx => ids::held(&tx, project, place, &files).await?)
    }

    async fn ids(&self, project: &str, of: IdsOf) -> StageResult<Vec<PlacedIds>> {
        read!(self, "read ids", tx => ids::ids(&tx, project, &of).await?)
    }

    async fn open_intents(
        &self,
        fence: Fence,
        project: &str,
        place: &Place,
        intents: Vec<FileIds>,
    ) -> StageResult<()> {
        write!(self, fence, "record intents", tx => {
            ids::open_intents(&tx, fence, project, place, &intents).await?;
        })
    }

    async fn commit_files(
        &self,
        fence: Fence,
        project: &str,
        place: &Place,
        rows: Vec<FileRow>,
        now: DateTime<Utc>,
    ) -> StageResult<()> {
        write!(self, fence, "record files", tx => {
            let to = put_target(&tx, project, place).await?;
            commit_files(&tx, project, to, &rows, now).await?;
        })
    }

    async fn record_failure(
        &self,
        fence: Fence,
        project: &str,
        place: &Place,
        file: &FileKey,
        error: &str,
    ) -> StageResult<()> {
        let error = text(error);
        write!(self, fence, "record a failed file", tx => {
            let to = put_target(&tx, project, place).await?;
            // What the index holds of it stays where it is.
            tx.run(
                concat!(
                    "INSERT INTO files (target_id, repository, file_path, embedding_count, status, detail)
                     VALUES (coalesce((SELECT target_id FROM files WHERE ", of_project!(),
                    " AND repository = $3 AND file_path = $4 LIMIT 1), $2), $3, $4, 0, 'failed', $5)
                     ON CONFLICT (target_id, repository, file_path)
                     DO UPDATE SET status = 'failed', detail = excluded.detail"
                ),
                &[&to.project, &to.target, &file.repository, &file.path, &error],
            )
            .await?;
            futures::try_join!(touch(&tx, to.project, vec![&file.repository]), tx.end())?;
        })
    }

    async fn mark_damaged(&self, fence: Fence, project: &str, files: Damaged) -> StageResult<()> {
        write!(self, fence, "mark damaged files", tx => damage(&tx, project, &files).await?)
    }

    async fn remove_files(
        &self,
        fence: Fence,
        project: &str,
        files: Vec<FileKey>,
        left: Vec<PlacedIds>,
    ) -> StageResult<()> {
        write!(self, fence, "remove files", tx => remove(&tx, project, &files, &left).await?)
    }

    async fn close_leftovers(
        &self,
        fence: Fence,
        project: &str,
        place: &Place,
        ids: Vec<String>,
    ) -> StageResult<()> {
        write!(self, fence, "close leftovers", tx => {
            if let Some(place) = place_id(&tx, place).await? {
                let sql = "DELETE FROM leftovers WHERE place_id = $1 AND id = ANY ($2) AND project = $3";
                tx.run(sql, &[&place, &ids, &project]).await?;
            }
        })
    }

    async fn files_of_blobs(&self, project: &str, blobs: Vec<GitSha>) -> StageResult<Vec<BlobFile>> {
        let shas: Vec<String> = blobs.iter().map(ToString::to_string).collect();
        let rows = self
            .rows(
                "look for known contents",
                "SELECT n, recipe, repository, file_path FROM unnest($2::text[]) WITH ORDINALITY AS wanted (sha, n)
                 JOIN files ON blob_sha = sha
                 WHERE embedding_count > 0 AND target_id IN (
                     SELECT targets.id FROM project_rows JOIN targets ON project_id = project_rows.id WHERE name = $1)
                 ORDER BY n",
                &[&project, &shas],
            )
            .await?;
        let found = rows.iter().filter_map(|row| {
            Some(BlobFile {
                blob: *blobs.get(usize::try_from(row.get::<_, i64>(0) - 1).ok()?)?,
                recipe: row.get::<_, Option<String>>(1).map(Fingerprint::from_stored),
                file: FileKey { repository: row.get(2), path: row.get(3) },
            })
        });
        Ok(found.collect())
    }

    async fn recipes(&self, recipes: Vec<Fingerprint>) -> StageResult<HashMap<Fingerprint, String>> {
        let wanted: Vec<&str> = recipes.iter().map(Fingerprint::as_str).collect();
        let sql = "SELECT fingerprint, parts FROM recipes WHERE fingerprint = ANY ($1)";
        let rows = self.rows("read recipes", sql, &[&wanted]).await?;
        Ok(rows.iter().map(|row| (Fingerprint::from_stored(row.get::<_, String>(0)), row.get(1))).collect())
    }

    async fn record_recipes(&self, fence: Fence, recipes: Vec<(Fingerprint, String)>) -> StageResult<()> {
        let mut recipes: Vec<(&str, &str)> =
            recipes.iter().map(|(fingerprint, parts)| (fingerprint.as_str(), parts.as_str())).collect();
        recipes.sort_unstable();
        let (fingerprints, parts): (Vec<&str>, Vec<&str>) = recipes.into_iter().unzip();
        write!(self, fence, "record recipes", tx => {
            let sql = "INSERT INTO recipes SELECT * FROM unnest($1::text[], $2::text[]) ON CONFLICT DO NOTHING";
            futures::try_join!(tx.run(sql, &[&fingerprints, &parts]), tx.end())?;
        })
    }

    async fn explain_file(
        &self,
        project: &str,
        repository: Option<&str>,
        path: &str,
    ) -> StageResult<Vec<FileFacts>> {
        explain::files(self, project, repository, path).await
    }
}

async fn known_files(
    tx: &Transaction,
    project: &str,
    repository: &str,
    place: &Place,
) -> Result<KnownFiles, Failure> {
    let Some(id) = project_id(tx, project).await? else { return Ok(KnownFiles::default()) };
    let files = concat!(
        "SELECT file_path, blob_sha, recipe, target_id, embedding_count, status, detail FROM files WHERE ",
        of_project!(),
        " AND repository = $2 ORDER BY file_path"
    );
    let unfinished = "SELECT DISTINCT file_path FROM intents WHERE project = $1 AND repository = $2";
    let (target, files, unfinished) = futures::try_join!(
        target(tx, project, place),
        tx.rows(files, &[&id, &repository]),
        tx.rows(unfinished, &[&project, &repository]),
    )?;
    let target = target.map(|numbers| numbers.target);
    Ok(KnownFiles {
        files: files.iter().map(|row| known_file(row, target)).collect(),
        unfinished: unfinished.iter().map(|row| row.get(0)).collect::<BTreeSet<String>>(),
    })
}

fn known_file(row: &Row, target: Option<i64>) -> KnownFile {
    let (blob, recipe): (Option<&str>, Option<String>) = (row.get(1), row.get(2));
    KnownFile {
        path: row.get(0),
        blob_sha: blob.and_then(|text| text.parse().ok()),
        recipe: recipe.map(Fingerprint::from_stored),
        in_place: Some(row.get::<_, i64>(3)) == target,
        vectors: row.get::<_, i64>(4).unsigned_abs(),
        status: FileStatus::parse(row.get(5)),
        detail: row.get(6),
    }
}

async fn damage(tx: &Transaction, project: &str, files: &Damaged) -> Result<(), Failure> {
    let id = entered(tx, project).await?;
    // What is missing in the store must not be taken for being there.
    let Damaged::Files(files) = files else {
        let files = concat!("UPDATE files SET status = 'damaged' WHERE ", of_project!());
        let repositories =
            "UPDATE repositories SET settled = FALSE, revision = revision + 1 WHERE project_id = $1";
        let chunks = concat!(
            "UPDATE chunks SET fingerprint = '' WHERE file_id IN (SELECT id FROM files WHERE ",
            of_project!(),
            ")"
        );
        futures::try_join!(tx.run(files, &[&id]), tx.run(repositories, &[&id]), tx.run(chunks, &[&id]))?;
        return Ok(());
    };
    let (repositories, paths) = split(files.iter());
    let statuses = concat!(
        "UPDATE files SET status = 'damaged' FROM ",
        given!("2", "3"),
        " WHERE ",
        of_project!(),
        " AND files.repository = given.repository AND files.file_path = given.file_path"
    );
    let settled = "UPDATE repositories SET settled = FALSE, revision = revision + 1
         WHERE project_id = $1 AND name = ANY ($2)";
    let chunks = concat!(
        "UPDATE chunks SET fingerprint = '' WHERE file_id IN (SELECT files.id FROM files JOIN ",
        given!("2", "3"),
        " USING (repository, file_path) WHERE ",
        of_project!(),
        ")"
    );
    futures::try_join!(
        tx.run(statuses, &[&id, &repositories, &paths]),
        tx.run(settled, &[&id, &repositories]),
        tx.run(chunks, &[&id, &repositories, &paths]),
    )?;
    Ok(())
}

async fn remove(
    tx: &Transaction,
    project: &str,
    files: &[FileKey],
    left: &[PlacedIds],
) -> Result<(), Failure> {
    let id = entered(tx, project).await?;
    let given = split(files.iter());
    let (repositories, paths) = &given;
    let rows = concat!(
        "DELETE FROM files USING ",
        given!("2", "3"),
        " WHERE ",
        of_project!(),
        " AND files.repository = given.repository AND files.file_path = given.file_path"
    );
    futures::try_join!(
        tx.run(rows, &[&id, repositories, paths]),
        close_intents(tx, project, &given),
        tx.run(
            concat!(
                "DELETE FROM leftovers USING ",
                given!("2", "3"),
                " WHERE project = $1 AND leftovers.repository = given.repository
                   AND leftovers.file_path = given.file_path"
            ),
            &[&project, repositories, paths],
        ),
    )?;
    for PlacedIds { place, file, ids, .. } in left {
        let place = put_place(tx, place).await?;
        let sql = "INSERT INTO leftovers SELECT $1, id, $3, $4, $5 FROM unnest($2::text[]) AS id
             ON CONFLICT DO NOTHING";
        tx.run(sql, &[&place, ids, &project, &file.repository, &file.path]).await?;
    }
    touch(tx, id, repositories.clone()).await
}

async fn commit_files(
    tx: &Transaction,
    project: &str,
    Numbers { project: id, target, place }: Numbers,
    rows: &[FileRow],
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    let given = split(rows.iter().map(|row| &row.file));
    let (repositories, paths) = &given;
    let column = |of: fn(&FileRow) -> String| rows.iter().map(of).collect::<Vec<String>>();
    let (commits, blobs) = (column(|row| row.commit.to_string()), column(|row| row.blob_sha.to_string()));
    let recipes: Vec<&str> = rows.iter().map(|row| row.recipe.as_str()).collect();
    let statuses: Vec<&str> = rows.iter().map(|row| row.status.as_str()).collect();
    let details: Vec<Option<String>> = rows.iter().map(|row| row.detail.as_deref().map(text)).collect();
    let counts: Vec<i64> =
        rows.iter().map(|row| i64::try_from(row.chunks.len()).unwrap_or(i64::MAX)).collect();
    let chunks =
        || rows.iter().enumerate().flat_map(|(n, row)| row.chunks.iter().map(move |chunk| (n, chunk)));
    let numbers: Vec<i32> = chunks().map(|(n, _)| i32::try_from(n).unwrap_or(i32::MAX)).collect();
    let (chunk_ids, fingerprints): (Vec<&str>, Vec<&str>) =
        chunks().map(|(_, chunk)| (chunk.id.as_str(), chunk.fingerprint.as_str())).unzip();

    futures::try_join!(
        // A file that was in another place leaves its ids there.
        tx.run(
            concat!(
                "WITH moved AS (
                     SELECT files.id, target_id, repository, file_path FROM files JOIN ",
                given!("2", "3"),
                "    USING (repository, file_path) WHERE ",
                of_project!(),
                "    AND target_id <> $4),
                 left_behind AS (
                     INSERT INTO leftovers
                     SELECT place_id, chunks.id, $5, repository, file_path
                     FROM moved JOIN targets ON targets.id = target_id JOIN chunks ON file_id = moved.id
                     ON CONFLICT DO NOTHING)
                 UPDATE files SET target_id = $4 FROM moved WHERE files.id = moved.id"
            ),
            &[&id, repositories, paths, &target, &project],
        ),
        // An interrupted upsert to another place may have left vectors there.
        tx.run(
            concat!(
                "INSERT INTO leftovers SELECT place_id, id, project, repository, file_path FROM intents JOIN ",
                given!("2", "3"),
                " USING (repository, file_path) WHERE project = $1 AND place_id <> $4 ON CONFLICT DO NOTHING"
            ),
            &[&project, repositories, paths, &place],
        ),
        close_intents(tx, project, &given),
        // Back in a place it had left: what was left there was replaced or deleted with this write.
        tx.run(
            concat!(
                "DELETE FROM leftovers USING ",
                given!("2", "3"),
                " WHERE place_id = $4 AND project = $1 AND leftovers.repository = given.repository
                   AND leftovers.file_path = given.file_path"
            ),
            &[&project, repositories, paths, &place],
        ),
        tx.run(
            "INSERT INTO files (target_id, repository, file_path, last_commit_sha, last_synced_at, embedding_count,
                 status, blob_sha, recipe, detail)
             SELECT $1, given.repository, given.path, commit, $5, n, status, blob, recipe, detail
             FROM unnest($2::text[], $3::text[], $4::text[], $6::bigint[], $7::text[], $8::text[], $9::text[],
                     $10::text[]) AS given (repository, path, commit, n, status, blob, recipe, detail)
             ON CONFLICT (target_id, repository, file_path) DO UPDATE SET
                 last_commit_sha = excluded.last_commit_sha, last_synced_at = excluded.last_synced_at,
                 embedding_count = excluded.embedding_count, status = excluded.status, blob_sha = excluded.blob_sha,
                 recipe = excluded.recipe, detail = excluded.detail",
            &[
                &target, repositories, paths, &commits, &now, &counts, &statuses, &blobs, &recipes, &details,
            ],
        ),
        tx.run(
            concat!(
                "DELETE FROM chunks USING files JOIN ",
                given!("2", "3"),
                " USING (repository, file_path) WHERE target_id = $1 AND file_id = files.id"
            ),
            &[&target, repositories, paths],
        ),
        tx.run(
            "INSERT INTO chunks
             SELECT files.id, chunk.id, chunk.fingerprint
             FROM unnest($4::int[], $5::text[], $6::text[]) AS chunk (n, id, fingerprint)
             JOIN unnest($2::text[], $3::text[]) WITH ORDINALITY AS given (repository, path, n)
                 ON given.n = chunk.n + 1
             JOIN files ON target_id = $1 AND files.repository = given.repository AND file_path = given.path",
            &[&target, repositories, paths, &numbers, &chunk_ids, &fingerprints],
        ),
        touch(tx, id, repositories.clone()),
        tx.end(),
    )?;
    Ok(())
}

async fn close_intents(
    tx: &Transaction,
    project: &str,
    (repositories, paths): &(Vec<&str>, Vec<&str>),
) -> Result<u64, Failure> {
    let sql = concat!(
        "DELETE FROM intents USING ",
        given!("2", "3"),
        " WHERE project = $1 AND intents.repository = given.repository AND intents.file_path = given.file_path"
    );
    tx.run(sql, &[&project, repositories, paths]).await
}
