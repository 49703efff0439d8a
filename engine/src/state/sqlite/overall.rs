//! What concerns all projects: the lease, the status, and stored answers.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Duration, Utc};
use rusqlite::{OptionalExtension, params};

use super::rows::timestamp;
use super::status;
use super::store::SqliteState;
use crate::model::{DeclaredProject, Running, StageResult, StatusView, StoredAnswer};
use crate::state::State;
use crate::state::fence::{Fence, Held, Lease};

#[async_trait]
impl State for SqliteState {
    async fn lease(&self, _projects: &[String]) -> StageResult<Result<Lease, Held>> {
        self.take_lease().await
    }

    async fn holder(&self) -> StageResult<Option<Running>> {
        self.lock_holder().await
    }

    async fn status(&self, declared: &[DeclaredProject], now: DateTime<Utc>) -> StageResult<StatusView> {
        let declared = declared.to_vec();
        self.read("read the status", move |conn| status::status(conn, &declared, now)).await
    }

    async fn answer(&self, key: &str) -> StageResult<Option<StoredAnswer>> {
        let key = key.to_owned();
        self.read("read a stored answer", move |conn| {
            conn.prepare_cached("SELECT etag, body FROM answers WHERE key = ?1")?
                .query_row([key], |row| Ok(StoredAnswer { etag: row.get(0)?, body: row.get(1)? }))
                .optional()
        })
        .await
    }

    async fn put_answer(
        &self,
        fence: Fence,
        key: &str,
        answer: &StoredAnswer,
        now: DateTime<Utc>,
    ) -> StageResult<()> {
        let (key, answer) = (key.to_owned(), answer.clone());
        self.write(fence, "store an answer", move |conn| {
            conn.execute(
                "INSERT OR REPLACE INTO answers VALUES (?1, ?2, ?3, ?4)",
                params![key, answer.etag, answer.body, timestamp(now)],
            )?;
            conn.execute("DELETE FROM answers WHERE used_at < ?1", [timestamp(now - Duration::days(30))])
                .map(drop)
        })
        .await
    }

    fn scratch(&self) -> StageResult<Arc<dyn State>> {
        Ok(Arc::new(Self::in_memory()?))
    }
}
