//! Repositories: which commit is indexed, and what was seen when.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::findings;
use super::rows::{entered, parse_time, project_id, timestamp, touch};
use super::store::SqliteState;
use crate::model::{GitSha, RepoEntry, RepoRef, StageResult};
use crate::state::fence::Fence;
use crate::state::repository::{
    Repositories, RepositoryRow, RepositorySync, SelectedRepository, UnchangedRepository, Uncounted,
};

#[async_trait]
impl Repositories for SqliteState {
    async fn repositories(&self, project: &str) -> StageResult<Vec<RepositoryRow>> {
        let project = project.to_owned();
        self.read("read repositories", move |conn| match project_id(conn, &project)? {
            Some(id) => rows(conn, id),
            None => Ok(Vec::new()),
        })
        .await
    }

    async fn record_listing(
        &self,
        fence: Fence,
        project: &str,
        names: BTreeSet<String>,
        selection: &str,
    ) -> StageResult<()> {
        let (project, selection) = (project.to_owned(), selection.to_owned());
        let (own, listed) = (project.clone(), names.clone());
        // Most listings select what the one before selected: nothing is written then.
        let differs = move |conn: &Connection| findings::listing_differs(conn, &own, &listed);
        self.write_if(fence, "record the selected repositories", differs, move |conn| {
            findings::record_listing(conn, &project, &names, &selection)
        })
        .await
    }

    async fn record_findings(
        &self,
        fence: Fence,
        project: &str,
        found: BTreeMap<String, SelectedRepository>,
        complete: bool,
    ) -> StageResult<()> {
        let project = project.to_owned();
        let (own, seen) = (project.clone(), found.clone());
        let differs =
            move |conn: &Connection| Ok(!findings::changed(conn, &own, &seen, complete)?.is_empty());
        self.write_if(fence, "record the state of repositories", differs, move |conn| {
            findings::record(conn, &project, &found, complete)
        })
        .await
    }

    async fn saw_head(
        &self,
        fence: Fence,
        project: &str,
        entry: &RepoEntry,
        head: GitSha,
        now: DateTime<Utc>,
    ) -> StageResult<()> {
        let (project, repo) = (project.to_owned(), entry.repo.clone());
        self.write(fence, "record a head", move |conn| {
            conn.prepare_cached(
                "INSERT INTO repositories (project_id, name, key, head_sha, head_asked_at) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (project_id, name) DO UPDATE SET key = excluded.key, head_sha = excluded.head_sha,
                     head_asked_at = excluded.head_asked_at, orphan_since = NULL,
                     commits_behind = CASE WHEN head_sha = excluded.head_sha THEN commits_behind END",
            )?
            .execute(params![entered(conn, &project)?, repo.name, repo.key, head.to_string(), timestamp(now)])
            .map(drop)
        })
        .await
    }

    async fn begin_repository(&self, fence: Fence, project: &str, repository: &str) -> StageResult<()> {
        let (project, repository) = (project.to_owned(), repository.to_owned());
        self.write(fence, "record the begin of a sync", move |conn| {
            conn.prepare_cached("UPDATE repositories SET settled = 0 WHERE project_id = ?1 AND name = ?2")?
                .execute(params![entered(conn, &project)?, repository])
                .map(drop)
        })
        .await
    }

    async fn finish_repository(
        &self,
        fence: Fence,
        project: &str,
        sync: RepositorySync,
        now: DateTime<Utc>,
    ) -> StageResult<()> {
        let project = project.to_owned();
        self.write(fence, "record a finished repository", move |conn| finish(conn, &project, &sync, now))
            .await
    }

    async fn confirm_repositories(
        &self,
        fence: Fence,
        project: &str,
        unchanged: Vec<UnchangedRepository>,
        now: DateTime<Utc>,
    ) -> StageResult<()> {
        let project = project.to_owned();
        self.write(fence, "record unchanged repositories", move |conn| {
            let (id, now) = (entered(conn, &project)?, timestamp(now));
            let mut update = conn.prepare_cached(
                "UPDATE repositories SET key = ?3, entry = ?4, head_sha = ?5, head_asked_at = ?6, last_synced_at = ?6,
                     orphan_since = NULL, commits_behind = NULL
                 WHERE project_id = ?1 AND name = ?2",
            )?;
            for UnchangedRepository { entry, head } in unchanged {
                let json = serde_json::to_string(&entry).unwrap_or_default();
                update.execute(params![id, entry.repo.name, entry.repo.key, json, head.to_string(), now])?;
            }
            Ok(())
        })
        .await
    }

    async fn mark_orphans(
        &self,
        fence: Fence,
        project: &str,
        repositories: Vec<String>,
        now: DateTime<Utc>,
    ) -> StageResult<BTreeMap<String, DateTime<Utc>>> {
        let project = project.to_owned();
        self.write(fence, "record missing repositories", move |conn| {
            let id = entered(conn, &project)?;
            let mut update = conn.prepare_cached(
                "UPDATE repositories SET orphan_since = coalesce(orphan_since, ?3)
                 WHERE project_id = ?1 AND name = ?2 RETURNING orphan_since",
            )?;
            let mut since = BTreeMap::new();
            for name in repositories {
                let marked =
                    update.query_row(params![id, name, timestamp(now)], |row| row.get(0)).optional()?;
                since.insert(name, parse_time(marked.flatten()).unwrap_or(now));
            }
            Ok(since)
        })
        .await
    }

    async fn remove_repository(&self, fence: Fence, project: &str, repository: &str) -> StageResult<()> {
        let (project, repository) = (project.to_owned(), repository.to_owned());
        self.write(fence, "remove a repository", move |conn| {
            conn.prepare_cached("DELETE FROM repositories WHERE project_id = ?1 AND name = ?2")?
                .execute(params![entered(conn, &project)?, repository])
                .map(drop)
        })
        .await
    }

    async fn uncounted(&self, project: &str, limit: usize) -> StageResult<Vec<Uncounted>> {
        let project = project.to_owned();
        self.read("read repositories", move |conn| uncounted(conn, &project, limit)).await
    }

    async fn count_commits(
        &self,
        project: &str,
        counted: &Uncounted,
        commits: Option<u64>,
    ) -> StageResult<()> {
        let (project, counted) = (project.to_owned(), counted.clone());
        let commits = commits.map_or(-1, |n| i64::try_from(n).unwrap_or(i64::MAX));
        self.call(move |database| {
            database.write("record how far a head is away", |conn| {
                conn.execute(
                    "UPDATE repositories SET commits_behind = ?5
                     WHERE project_id = (SELECT id FROM project_rows WHERE name = ?1) AND name = ?2
                         AND last_commit_sha = ?3 AND head_sha = ?4",
                    params![
                        project,
                        counted.repo.name,
                        counted.indexed.to_string(),
                        counted.head.to_string(),
                        commits
                    ],
                )
                .map(drop)
            })
        })
        .await
    }
}

/// All repositories of a project, by name.
pub(super) fn rows(conn: &Connection, project: i64) -> rusqlite::Result<Vec<RepositoryRow>> {
    conn.prepare_cached(
        "SELECT name, key, entry, last_commit_sha, last_synced_at, head_sha, head_asked_at, settled, basis,
             orphan_since, commits_behind,
             EXISTS (SELECT 1 FROM targets JOIN files AS file ON target_id = targets.id
                 WHERE targets.project_id = own.project_id
                 AND file.repository = own.name AND status NOT IN ('synced', 'skipped'))
             OR EXISTS (SELECT 1 FROM intents WHERE intents.repository = own.name
                 AND intents.project = (SELECT name FROM project_rows WHERE id = own.project_id)),
             revision
         FROM repositories AS own WHERE project_id = ?1 ORDER BY name",
    )?
    .query_map([project], repository)?
    .collect()
}

fn finish(
    conn: &Connection,
    project: &str,
    sync: &RepositorySync,
    now: DateTime<Utc>,
) -> rusqlite::Result<()> {
    let entry = serde_json::to_string(&sync.entry).unwrap_or_default();
    let id = entered(conn, project)?;
    conn.prepare_cached(
        "UPDATE repositories SET entry = ?3, last_commit_sha = ?4, last_synced_at = ?5, settled = ?6, basis = ?7,
             commits_behind = NULL
         WHERE project_id = ?1 AND name = ?2",
    )?
    .execute(params![
        id,
        sync.entry.repo.name,
        entry,
        sync.commit.to_string(),
        timestamp(now),
        sync.settled,
        sync.basis
    ])?;
    touch(conn, id, &sync.entry.repo.name)
}

fn uncounted(conn: &Connection, project: &str, limit: usize) -> rusqlite::Result<Vec<Uncounted>> {
    conn.prepare_cached(
        "SELECT repositories.name, key, last_commit_sha, head_sha
         FROM repositories JOIN project_rows ON project_rows.id = project_id
         WHERE project_rows.name = ?1 AND last_commit_sha <> head_sha AND commits_behind IS NULL
             AND orphan_since IS NULL
         ORDER BY repositories.name LIMIT ?2",
    )?
    .query_map(params![project, limit], |row| {
        let repo = RepoRef { name: row.get(0)?, key: row.get(1)? };
        let (indexed, head): (String, String) = (row.get(2)?, row.get(3)?);
        // Commit ids that cannot be parsed are not counted.
        let known = indexed.parse().ok().zip(head.parse().ok());
        Ok(known.map(|(indexed, head)| Uncounted { repo, indexed, head }))
    })?
    .filter_map(Result::transpose)
    .collect()
}

fn repository(row: &Row<'_>) -> rusqlite::Result<RepositoryRow> {
    let entry: Option<String> = row.get(2)?;
    let commit: Option<String> = row.get(3)?;
    let head: Option<String> = row.get(5)?;
    Ok(RepositoryRow {
        name: row.get(0)?,
        key: row.get(1)?,
        entry: entry.and_then(|text| serde_json::from_str(&text).ok()),
        last_commit: commit.and_then(|text| text.parse().ok()),
        last_synced_at: row.get(4)?,
        head: head.and_then(|text| text.parse().ok()),
        head_asked_at: parse_time(row.get(6)?),
        settled: row.get(7)?,
        basis: row.get(8)?,
        orphan_since: parse_time(row.get(9)?),
        unsettled_files: row.get(11)?,
        revision: row.get(12)?,
        commits_behind: row.get::<_, Option<i64>>(10)?.and_then(|n| u64::try_from(n).ok()),
    })
}
