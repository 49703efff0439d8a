//! Sign-ins of the console.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::rows::timestamp;
use super::store::SqliteState;
use crate::model::StageResult;
use crate::state::sign_ins::{KEPT_SIGN_INS, SignIn, SignInKind, SignIns};

#[async_trait]
impl SignIns for SqliteState {
    async fn put_sign_in(&self, new: &SignIn, now: DateTime<Utc>) -> StageResult<()> {
        let new = new.clone();
        let put = move |conn: &Connection| put(conn, &new, now);
        self.call(move |database| database.write("keep a sign-in", put)).await
    }

    async fn sign_in(&self, kind: SignInKind, id: &str, now: DateTime<Utc>) -> StageResult<Option<String>> {
        let id = id.to_owned();
        self.read("read a sign-in", move |conn| {
            conn.prepare_cached("SELECT proof FROM sign_ins WHERE kind = ?1 AND id = ?2 AND expires_at > ?3")?
                .query_row(params![kind.as_str(), id, timestamp(now)], |row| row.get(0))
                .optional()
        })
        .await
    }

    async fn take_sign_in(
        &self,
        kind: SignInKind,
        id: &str,
        now: DateTime<Utc>,
    ) -> StageResult<Option<String>> {
        let id = id.to_owned();
        let take = move |conn: &Connection| {
            conn.prepare_cached(
                "DELETE FROM sign_ins WHERE kind = ?1 AND id = ?2 AND expires_at > ?3 RETURNING proof",
            )?
            .query_row(params![kind.as_str(), id, timestamp(now)], |row| row.get(0))
            .optional()
        };
        self.call(move |database| database.write("use a sign-in", take)).await
    }
}

fn put(conn: &Connection, new: &SignIn, now: DateTime<Utc>) -> rusqlite::Result<()> {
    let kind = new.kind.as_str();
    conn.prepare_cached("INSERT INTO sign_ins (kind, id, proof, expires_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![kind, new.id, new.proof, timestamp(new.expires_at)])?;
    conn.prepare_cached("DELETE FROM sign_ins WHERE expires_at <= ?1")?.execute([timestamp(now)])?;
    conn.prepare_cached(
        "DELETE FROM sign_ins WHERE kind = ?1 AND id IN (
             SELECT id FROM sign_ins WHERE kind = ?1 ORDER BY expires_at DESC, id LIMIT -1 OFFSET ?2)",
    )?
    .execute(params![kind, KEPT_SIGN_INS])
    .map(drop)
}
