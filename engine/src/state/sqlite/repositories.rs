//! Repositories: which commit is indexed, and what was seen when.

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, Row, params};

use super::{SqliteState, timestamp, touch};
use crate::model::{GitSha, RepoEntry, RepoRef, StageResult};
use crate::state::repository::{RepositoryRow, RepositorySync, Uncounted};

const COLUMNS: &str = "name, key, entry, last_commit_sha, last_synced_at, head_sha, head_asked_at, settled, basis, orphan_since, commits_behind";

impl SqliteState {
    /// All repositories of a project, by name.
    pub fn repositories(&self, project: i64) -> StageResult<Vec<RepositoryRow>> {
        self.read("read repositories", |conn| {
            conn.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM repositories WHERE project_id = ?1 ORDER BY name"
            ))?
            .query_map([project], repository)?
            .collect()
        })
    }

    /// One repository of a project.
    pub fn repository(&self, project: i64, name: &str) -> StageResult<Option<RepositoryRow>> {
        self.read("read a repository", |conn| {
            conn.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM repositories WHERE project_id = ?1 AND name = ?2"
            ))?
            .query_row(params![project, name], repository)
            .optional()
        })
    }

    /// Records that a repository is there and which head it has; it is no orphan. How far that
    /// head is away is not known any more, if it is another one.
    pub fn saw_head(
        &self,
        project: i64,
        entry: &RepoEntry,
        head: GitSha,
        now: DateTime<Utc>,
    ) -> StageResult<()> {
        self.write("record a head", |tx| {
            tx.execute(
                "INSERT INTO repositories (project_id, name, key, head_sha, head_asked_at) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (project_id, name) DO UPDATE SET key = excluded.key, head_sha = excluded.head_sha,
                     head_asked_at = excluded.head_asked_at, orphan_since = NULL,
                     commits_behind = CASE WHEN head_sha = excluded.head_sha THEN commits_behind END",
                params![project, entry.repo.name, entry.repo.key, head.to_string(), timestamp(now)],
            )
            .map(drop)
        })
    }

    /// The repositories of a project that are behind their heads by an unknown number of commits.
    pub fn uncounted(&self, project: &str, limit: usize) -> StageResult<Vec<Uncounted>> {
        self.read("read repositories", |conn| {
            conn.prepare_cached(
                "SELECT repositories.name, key, last_commit_sha, head_sha
                 FROM repositories JOIN projects ON projects.id = project_id
                 WHERE projects.name = ?1 AND last_commit_sha <> head_sha AND commits_behind IS NULL
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
        })
    }

    /// Records the number of commits between the indexed commit and the head; `None`: it cannot be determined.
    /// Has no effect if either has changed since.
    pub fn count_commits(&self, project: &str, counted: &Uncounted, commits: Option<u64>) -> StageResult<()> {
        let commits = commits.map_or(-1, |n| i64::try_from(n).unwrap_or(i64::MAX));
        self.write("record how far a head is away", |tx| {
            tx.execute(
                "UPDATE repositories SET commits_behind = ?5
                 WHERE project_id = (SELECT id FROM projects WHERE name = ?1) AND name = ?2
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
    }

    /// Records that a repository's files are about to change: until its sync comes to its end, it is
    /// not as its last finished sync left it, whatever its head and basis say.
    pub fn unsettle(&self, project: i64, name: &str) -> StageResult<()> {
        self.write("record the begin of a sync", |tx| {
            tx.execute(
                "UPDATE repositories SET settled = 0 WHERE project_id = ?1 AND name = ?2",
                params![project, name],
            )
            .map(drop)
        })
    }

    /// Records that a repository's sync came to its end.
    pub fn finish_repository(
        &self,
        project: i64,
        sync: &RepositorySync,
        now: DateTime<Utc>,
    ) -> StageResult<()> {
        let entry = serde_json::to_string(&sync.entry).unwrap_or_default();
        self.write("record a finished repository", |tx| {
            tx.execute(
                "UPDATE repositories SET entry = ?3, last_commit_sha = ?4, last_synced_at = ?5, settled = ?6, basis = ?7,
                     commits_behind = NULL
                 WHERE project_id = ?1 AND name = ?2",
                params![
                    project,
                    sync.entry.repo.name,
                    entry,
                    sync.commit.to_string(),
                    timestamp(now),
                    sync.settled,
                    sync.basis
                ],
            )?;
            touch(tx)
        })
    }

    /// Records that a repository is missing; returns since when.
    pub fn mark_orphan(&self, project: i64, name: &str, now: DateTime<Utc>) -> StageResult<DateTime<Utc>> {
        self.write("record a missing repository", |tx| {
            tx.execute(
                "UPDATE repositories SET orphan_since = coalesce(orphan_since, ?3) WHERE project_id = ?1 AND name = ?2",
                params![project, name, timestamp(now)],
            )?;
            let since: Option<String> = tx
                .query_row(
                    "SELECT orphan_since FROM repositories WHERE project_id = ?1 AND name = ?2",
                    params![project, name],
                    |row| row.get(0),
                )
                .optional()?
                .flatten();
            Ok(parse_time(since).unwrap_or(now))
        })
    }

    /// Forgets a repository of which the index holds nothing any more.
    pub fn remove_repository(&self, project: i64, name: &str) -> StageResult<()> {
        self.write("remove a repository", |tx| {
            tx.execute(
                "DELETE FROM repositories WHERE project_id = ?1 AND name = ?2",
                params![project, name],
            )?;
            touch(tx)
        })
    }
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
        commits_behind: row.get::<_, Option<i64>>(10)?.and_then(|n| u64::try_from(n).ok()),
    })
}

pub(super) fn parse_time(text: Option<String>) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(&text?).ok().map(|time| time.with_timezone(&Utc))
}
