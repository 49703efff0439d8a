//! Answers that sources ask for conditionally.

use chrono::Utc;
use rusqlite::{OptionalExtension, params};

use super::{SqliteState, timestamp};
use crate::model::{StageResult, StoredAnswer};

impl SqliteState {
    /// The stored answer for a key.
    pub fn answer(&self, key: &str) -> StageResult<Option<StoredAnswer>> {
        self.read("read a stored answer", |conn| {
            conn.prepare_cached("SELECT etag, body FROM answers WHERE key = ?1")?
                .query_row([key], |row| Ok(StoredAnswer { etag: row.get(0)?, body: row.get(1)? }))
                .optional()
        })
    }

    /// Replaces the answer for a key; forgets those not used for a month.
    pub fn put_answer(&self, key: &str, answer: &StoredAnswer) -> StageResult<()> {
        let now = Utc::now();
        self.write("store an answer", |tx| {
            tx.execute(
                "INSERT OR REPLACE INTO answers VALUES (?1, ?2, ?3, ?4)",
                params![key, answer.etag, answer.body, timestamp(now)],
            )?;
            tx.execute(
                "DELETE FROM answers WHERE used_at < ?1",
                [timestamp(now - chrono::Duration::days(30))],
            )
            .map(drop)
        })
    }
}
