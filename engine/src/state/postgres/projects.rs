//! Projects and the places of their vectors.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::store::{PostgresState, read, write};
use super::suspects::reopen;
use super::targets::{entered, number, of_project, place_id, put_target, target};
use super::{adopt, verify};
use crate::model::{Fingerprint, Place, StageResult};
use crate::postgres::{Failure, Transaction};
use crate::state::fence::Fence;
use crate::state::project::{
    AdoptedRecord, Believed, ProjectEnd, ProjectRow, ProjectState, Projects, RecordedProject,
};

#[async_trait]
impl Projects for PostgresState {
    async fn project(&self, project: &str, place: &Place) -> StageResult<Option<ProjectState>> {
        let Place { kind, host, index, namespace } = place;
        let sql = "SELECT selection, first_run_ended_at IS NOT NULL,
                 EXISTS (SELECT 1 FROM targets JOIN places ON places.id = place_id
                         WHERE project_id = project_rows.id AND adopted_at IS NOT NULL
                             AND kind = $2 AND host = $3 AND idx = $4 AND places.namespace = $5),
                 (SELECT coalesce(sum(embedding_count), 0)::bigint
                  FROM targets JOIN files ON target_id = targets.id WHERE project_id = project_rows.id)
             FROM project_rows WHERE name = $1";
        let rows = self.rows("read a project", sql, &[&project, kind, host, index, namespace]).await?;
        Ok(rows.first().map(|row| ProjectState {
            selection: row.get(0),
            first_run_over: row.get(1),
            adopted: row.get(2),
            vectors: row.get::<_, i64>(3).unsigned_abs(),
        }))
    }

    async fn projects(&self) -> StageResult<Vec<RecordedProject>> {
        read!(self, "read projects", tx => recorded(&tx).await?)
    }

    async fn enter_project(
        &self,
        fence: Fence,
        project: &ProjectRow,
        place: &Place,
        recipe: &Fingerprint,
        now: DateTime<Utc>,
    ) -> StageResult<()> {
        write!(self, fence, "record a project", tx => {
            let ((), numbers) =
                futures::try_join!(put_project(&tx, project, now), put_target(&tx, &project.name, place))?;
            let recipe = recipe.as_str();
            // A retired one has to be built again.
            let sql = "UPDATE targets SET recipe = $2,
                     state = CASE state WHEN 'retired' THEN 'building' ELSE state END
                 WHERE id = $1 AND (recipe IS DISTINCT FROM $2 OR state = 'retired')";
            futures::try_join!(
                tx.run(sql, &[&numbers.target, &recipe]),
                reopen(&tx, fence, (numbers.project, &project.name)),
            )?;
        })
    }

    async fn finish_project(
        &self,
        fence: Fence,
        project: &str,
        place: &Place,
        end: ProjectEnd,
        now: DateTime<Utc>,
    ) -> StageResult<()> {
        write!(self, fence, "record the end of a project's run", tx => {
            // `NULL` is no target's number.
            let target = if end.selection.is_some() {
                Some(put_target(&tx, project, place).await?.target)
            } else {
                entered(&tx, project).await?;
                None
            };
            let ended = end.first_run_over.then_some(now);
            // The target holds everything: it is the live one, and the project has left the others.
            let others = "UPDATE targets SET state = 'retired'
                 WHERE project_id = (SELECT project_id FROM targets WHERE id = $1) AND id <> $1 AND state <> 'retired'";
            let own = "UPDATE targets SET state = 'live' WHERE id = $1 AND state <> 'live'";
            let sql = "UPDATE project_rows SET selection = coalesce($2, selection),
                     first_run_ended_at = coalesce(first_run_ended_at, $3)
                 WHERE name = $1 AND ($2 IS NOT NULL AND selection IS DISTINCT FROM $2
                     OR $3 IS NOT NULL AND first_run_ended_at IS NULL)";
            futures::try_join!(
                tx.run(others, &[&target]),
                tx.run(own, &[&target]),
                tx.run(sql, &[&project, &end.selection, &ended]),
                tx.end(),
            )?;
        })
    }

    async fn remove_project(&self, fence: Fence, project: &str) -> StageResult<u64> {
        write!(self, fence, "remove a project", tx => {
            let id = entered(&tx, project).await?;
            let sql =
                concat!("SELECT count(*) FROM files WHERE ", of_project!(), " AND embedding_count > 0");
            let files = number(tx.row(sql, &[&id]).await?)?.unsigned_abs();
            futures::try_join!(
                tx.run("DELETE FROM project_rows WHERE id = $1", &[&id]),
                tx.run("DELETE FROM intents WHERE project = $1", &[&project]),
                tx.run("DELETE FROM leftovers WHERE project = $1", &[&project]),
            )?;
            files
        })
    }

    async fn adopt(
        &self,
        fence: Fence,
        project: &str,
        place: &Place,
        records: Vec<AdoptedRecord>,
        now: DateTime<Utc>,
    ) -> StageResult<()> {
        write!(self, fence, "record what the store holds", tx => {
            adopt::adopt(&tx, project, place, &records, now).await?;
        })
    }

    async fn owners_of_place(&self, place: &Place) -> StageResult<Vec<String>> {
        read!(self, "read a place's projects", tx => {
            let rows = tx
                .rows(
                    "SELECT name FROM project_rows JOIN targets ON project_id = project_rows.id
                     WHERE place_id = $1 AND (adopted_at IS NOT NULL
                         OR EXISTS (SELECT 1 FROM files WHERE target_id = targets.id))
                     ORDER BY name",
                    &[&place_id(&tx, place).await?],
                )
                .await?;
            rows.iter().map(|row| row.get(0)).collect()
        })
    }

    async fn believed(&self, project: &str, place: &Place) -> StageResult<Option<Believed>> {
        read!(self, "read the ids of a place", tx => {
            match target(&tx, project, place).await? {
                Some(numbers) => verify::believed(&tx, numbers).await?,
                None => None,
            }
        })
    }
}

/// All recorded projects, by name.
pub(super) async fn recorded(tx: &Transaction) -> Result<Vec<RecordedProject>, Failure> {
    let rows = tx
        .rows(
            "SELECT name, coalesce(sum(embedding_count), 0)::bigint FROM project_rows
             LEFT JOIN targets ON project_id = project_rows.id LEFT JOIN files ON target_id = targets.id
             GROUP BY project_rows.id ORDER BY name",
            &[],
        )
        .await?;
    let project = |row: &crate::postgres::Row| RecordedProject {
        name: row.get(0),
        vectors: row.get::<_, i64>(1).unsigned_abs(),
    };
    Ok(rows.iter().map(project).collect())
}

/// Enters a project as it is declared; what is the same is not written.
async fn put_project(tx: &Transaction, project: &ProjectRow, now: DateTime<Utc>) -> Result<(), Failure> {
    tx.run(
        "INSERT INTO project_rows AS old (name, organization, filter_keyword, namespace, enabled, allowed_extensions,
             exclude_patterns, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)
         ON CONFLICT (name) DO UPDATE SET organization = excluded.organization,
             filter_keyword = excluded.filter_keyword, namespace = excluded.namespace, enabled = excluded.enabled,
             allowed_extensions = excluded.allowed_extensions, exclude_patterns = excluded.exclude_patterns,
             updated_at = excluded.updated_at
         WHERE (old.organization, old.filter_keyword, old.namespace, old.enabled, old.allowed_extensions,
                old.exclude_patterns)
             IS DISTINCT FROM (excluded.organization, excluded.filter_keyword, excluded.namespace, excluded.enabled,
                excluded.allowed_extensions, excluded.exclude_patterns)",
        &[
            &project.name,
            &project.organization,
            &project.filter_keyword,
            &project.namespace,
            &project.enabled,
            &project.allowed_extensions,
            &project.exclude_patterns,
            &now,
        ],
    )
    .await
    .map(drop)
}
