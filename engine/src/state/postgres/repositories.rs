//! Repositories of a project: which commit is indexed, and what was seen when.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat, Utc};

use super::findings;
use super::store::{PostgresState, json, write};
use super::targets::{entered, touch};
use crate::model::{GitSha, RepoEntry, RepoRef, StageResult};
use crate::postgres::{Failure, Row, Transaction};
use crate::state::fence::Fence;
use crate::state::repository::{
    Repositories, RepositoryRow, RepositorySync, SelectedRepository, UnchangedRepository, Uncounted,
};

#[async_trait]
impl Repositories for PostgresState {
    async fn repositories(&self, project: &str) -> StageResult<Vec<RepositoryRow>> {
        let rows = self.rows("read repositories", OF_ONE, &[&project]).await?;
        Ok(rows.iter().map(repository).collect())
    }

    async fn record_listing(
        &self,
        fence: Fence,
        project: &str,
        names: BTreeSet<String>,
        selection: &str,
    ) -> StageResult<()> {
        write!(self, fence, "record the selected repositories", tx => {
            findings::record_listing(&tx, project, &names, selection).await?;
        })
    }

    async fn record_findings(
        &self,
        fence: Fence,
        project: &str,
        found: BTreeMap<String, SelectedRepository>,
        complete: bool,
    ) -> StageResult<()> {
        write!(self, fence, "record the state of repositories", tx => {
            findings::record(&tx, project, &found, complete).await?;
        })
    }

    async fn saw_head(
        &self,
        fence: Fence,
        project: &str,
        entry: &RepoEntry,
        head: GitSha,
        now: DateTime<Utc>,
    ) -> StageResult<()> {
        let (repo, head) = (&entry.repo, head.to_string());
        write!(self, fence, "record a head", tx => {
            let id = entered(&tx, project).await?;
            let sql = "INSERT INTO repositories AS old (project_id, name, key, head_sha, head_asked_at)
                 VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (project_id, name) DO UPDATE SET key = excluded.key, head_sha = excluded.head_sha,
                     head_asked_at = excluded.head_asked_at, orphan_since = NULL,
                     commits_behind = CASE WHEN old.head_sha = excluded.head_sha THEN old.commits_behind END";
            futures::try_join!(tx.run(sql, &[&id, &repo.name, &repo.key, &head, &now]), tx.end())?;
        })
    }

    async fn begin_repository(&self, fence: Fence, project: &str, repository: &str) -> StageResult<()> {
        write!(self, fence, "record the begin of a sync", tx => {
            let id = entered(&tx, project).await?;
            let sql = "UPDATE repositories SET settled = FALSE WHERE project_id = $1 AND name = $2";
            futures::try_join!(tx.run(sql, &[&id, &repository]), tx.end())?;
        })
    }

    async fn finish_repository(
        &self,
        fence: Fence,
        project: &str,
        sync: RepositorySync,
        now: DateTime<Utc>,
    ) -> StageResult<()> {
        write!(self, fence, "record a finished repository", tx => finish(&tx, project, &sync, now).await?)
    }

    async fn confirm_repositories(
        &self,
        fence: Fence,
        project: &str,
        unchanged: Vec<UnchangedRepository>,
        now: DateTime<Utc>,
    ) -> StageResult<()> {
        let column =
            |of: fn(&UnchangedRepository) -> String| unchanged.iter().map(of).collect::<Vec<String>>();
        let names = column(|one| one.entry.repo.name.clone());
        let keys = column(|one| one.entry.repo.key.clone());
        let entries = column(|one| json(&one.entry));
        let heads = column(|one| one.head.to_string());
        write!(self, fence, "record unchanged repositories", tx => {
            let id = entered(&tx, project).await?;
            let sql = "UPDATE repositories SET key = given.key, entry = given.entry::json, head_sha = given.head,
                     head_asked_at = $6, last_synced_at = $6, orphan_since = NULL, commits_behind = NULL
                 FROM unnest($2::text[], $3::text[], $4::text[], $5::text[]) AS given (name, key, entry, head)
                 WHERE project_id = $1 AND repositories.name = given.name";
            futures::try_join!(tx.run(sql, &[&id, &names, &keys, &entries, &heads, &now]), tx.end())?;
        })
    }

    async fn mark_orphans(
        &self,
        fence: Fence,
        project: &str,
        repositories: Vec<String>,
        now: DateTime<Utc>,
    ) -> StageResult<BTreeMap<String, DateTime<Utc>>> {
        write!(self, fence, "record missing repositories", tx => {
            let id = entered(&tx, project).await?;
            let sql = "UPDATE repositories SET orphan_since = coalesce(orphan_since, $3)
                 WHERE project_id = $1 AND name = ANY ($2) RETURNING name, orphan_since";
            let mut since: BTreeMap<String, DateTime<Utc>> =
                repositories.iter().map(|name| (name.clone(), now)).collect();
            let rows = tx.rows(sql, &[&id, &repositories, &now]).await?;
            since.extend(rows.iter().map(|row| (row.get(0), row.get(1))));
            since
        })
    }

    async fn remove_repository(&self, fence: Fence, project: &str, repository: &str) -> StageResult<()> {
        write!(self, fence, "remove a repository", tx => {
            let id = entered(&tx, project).await?;
            tx.run("DELETE FROM repositories WHERE project_id = $1 AND name = $2", &[&id, &repository]).await?;
        })
    }

    async fn uncounted(&self, project: &str, limit: usize) -> StageResult<Vec<Uncounted>> {
        let rows = self
            .rows(
                "read repositories",
                "SELECT repositories.name, key, last_commit_sha, head_sha
                 FROM repositories JOIN project_rows ON project_rows.id = project_id
                 WHERE project_rows.name = $1 AND last_commit_sha <> head_sha AND commits_behind IS NULL
                     AND orphan_since IS NULL
                 ORDER BY repositories.name LIMIT $2",
                &[&project, &i64::try_from(limit).unwrap_or(i64::MAX)],
            )
            .await?;
        let uncounted = rows.iter().filter_map(|row| {
            let (indexed, head): (&str, &str) = (row.get(2), row.get(3));
            Some(Uncounted {
                repo: RepoRef { name: row.get(0), key: row.get(1) },
                indexed: indexed.parse().ok()?,
                head: head.parse().ok()?,
            })
        });
        Ok(uncounted.collect())
    }

    async fn count_commits(
        &self,
        project: &str,
        counted: &Uncounted,
        commits: Option<u64>,
    ) -> StageResult<()> {
        let commits = commits.map_or(-1, |commits| i64::try_from(commits).unwrap_or(i64::MAX));
        let (indexed, head) = (counted.indexed.to_string(), counted.head.to_string());
        let sql = "UPDATE repositories SET commits_behind = $5
             WHERE project_id = (SELECT id FROM project_rows WHERE name = $1) AND name = $2
                 AND last_commit_sha = $3 AND head_sha = $4";
        self.rows(
            "record a number of commits",
            sql,
            &[&project, &counted.repo.name, &indexed, &head, &commits],
        )
        .await
        .map(drop)
    }
}

/// Repositories as [`repository`] reads them, then the name of the project.
macro_rules! rows {
    ($which:literal) => {
        concat!(
            "SELECT own.name, key, entry::text, last_commit_sha, last_synced_at, head_sha, head_asked_at, settled, basis,
                 orphan_since, commits_behind,
                 EXISTS (SELECT 1 FROM targets JOIN files ON target_id = targets.id
                     WHERE targets.project_id = own.project_id
                     AND files.repository = own.name AND status NOT IN ('synced', 'skipped'))
                 OR EXISTS (SELECT 1 FROM intents
                     WHERE project = project_rows.name AND intents.repository = own.name),
                 revision, project_rows.name
             FROM project_rows JOIN repositories AS own ON project_id = project_rows.id ",
            $which,
            " ORDER BY own.name"
        )
    };
}

const OF_ONE: &str = rows!("WHERE project_rows.name = $1");
/// Those of all projects.
pub(super) const OF_ALL: &str = rows!("");

async fn finish(
    tx: &Transaction,
    project: &str,
    sync: &RepositorySync,
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    let id = entered(tx, project).await?;
    let name = &sync.entry.repo.name;
    let sql =
        "UPDATE repositories SET entry = $3::json, last_commit_sha = $4, last_synced_at = $5, settled = $6,
             basis = $7, commits_behind = NULL
         WHERE project_id = $1 AND name = $2";
    let (entry, commit) = (json(&sync.entry), sync.commit.to_string());
    futures::try_join!(
        tx.run(sql, &[&id, name, &entry, &commit, &now, &sync.settled, &sync.basis]),
        touch(tx, id, vec![name]),
        tx.end(),
    )?;
    Ok(())
}

/// A repository from its columns.
pub(super) fn repository(row: &Row) -> RepositoryRow {
    let sha = |column| row.get::<_, Option<&str>>(column).and_then(|text| text.parse().ok());
    let synced_at: Option<DateTime<Utc>> = row.get(4);
    RepositoryRow {
        name: row.get(0),
        key: row.get(1),
        entry: row.get::<_, Option<&str>>(2).and_then(|text| serde_json::from_str(text).ok()),
        last_commit: sha(3),
        last_synced_at: synced_at.map(timestamp),
        head: sha(5),
        head_asked_at: row.get(6),
        settled: row.get(7),
        basis: row.get(8),
        orphan_since: row.get(9),
        commits_behind: row.get::<_, Option<i64>>(10).and_then(|n| u64::try_from(n).ok()),
        unsettled_files: row.get(11),
        revision: row.get::<_, i64>(12).unsigned_abs(),
    }
}

/// A timestamp as reports and rows write it.
pub(super) fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
