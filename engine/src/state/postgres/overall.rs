//! What concerns all projects: leases, the status, and stored answers.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::allowances::PostgresAllowances;
use super::status;
use super::store::{PostgresState, read, write};
use crate::model::{
    Allowances, DeclaredProject, Running, StageResult, StatusView, StoredAnswer, WorkerSettings,
};
use crate::state::fence::{Fence, Held, Lease};
use crate::state::sqlite::SqliteState;
use crate::state::{Daemons, Queue, State};

#[async_trait]
impl State for PostgresState {
    async fn lease(&self, projects: &[String]) -> StageResult<Result<Lease, Held>> {
        self.take_lease(projects).await
    }

    async fn holder(&self) -> StageResult<Option<Running>> {
        self.lease_holder().await
    }

    async fn status(&self, declared: &[DeclaredProject], now: DateTime<Utc>) -> StageResult<StatusView> {
        read!(self, "read the status", tx => status::status(&tx, declared, now).await?)
    }

    async fn answer(&self, key: &str) -> StageResult<Option<StoredAnswer>> {
        let sql = "SELECT etag, body FROM answers WHERE key = $1";
        let rows = self.rows("read a stored answer", sql, &[&key]).await?;
        Ok(rows.first().map(|row| StoredAnswer { etag: row.get(0), body: row.get(1) }))
    }

    async fn put_answer(
        &self,
        fence: Fence,
        key: &str,
        answer: &StoredAnswer,
        now: DateTime<Utc>,
    ) -> StageResult<()> {
        write!(self, fence, "store an answer", tx => {
            tx.run(
                "INSERT INTO answers VALUES ($1, $2, $3, $4)
                 ON CONFLICT (key) DO UPDATE SET etag = excluded.etag, body = excluded.body, used_at = excluded.used_at",
                &[&key, &answer.etag, &answer.body, &now],
            )
            .await?;
            let old = "DELETE FROM answers WHERE used_at < least($1, now()) - interval '30 days'";
            tx.run(old, &[&now]).await?;
        })
    }

    fn set_leases(&self, settings: WorkerSettings) {
        *self.leases.lock() = settings;
    }

    fn queue(&self) -> Option<&dyn Queue> {
        Some(self)
    }

    fn daemons(&self) -> Option<&dyn Daemons> {
        Some(self)
    }

    fn allowances(&self) -> Option<Arc<dyn Allowances>> {
        self.borrows.then(|| -> Arc<dyn Allowances> { Arc::new(PostgresAllowances::new(self.pool.clone())) })
    }

    fn scratch(&self) -> StageResult<Arc<dyn State>> {
        Ok(Arc::new(SqliteState::in_memory()?))
    }
}
