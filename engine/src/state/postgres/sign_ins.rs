//! Sign-ins of the console.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::store::{PostgresState, attempt};
use crate::model::StageResult;
use crate::state::sign_ins::{KEPT_SIGN_INS, SignIn, SignInKind, SignIns};

#[async_trait]
impl SignIns for PostgresState {
    async fn put_sign_in(&self, new: &SignIn, now: DateTime<Utc>) -> StageResult<()> {
        let kind = new.kind.as_str();
        attempt!(self, "keep a sign-in", self.begin_without_lease(), tx => {
            // It is there already if the answer to an attempt was lost.
            tx.run(
                "INSERT INTO sign_ins (kind, id, proof, expires_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
                &[&kind, &new.id, &new.proof, &new.expires_at],
            )
            .await?;
            tx.run("DELETE FROM sign_ins WHERE expires_at <= least($1, now())", &[&now]).await?;
            tx.run(
                "DELETE FROM sign_ins WHERE kind = $1 AND id IN (
                     SELECT id FROM sign_ins WHERE kind = $1 ORDER BY expires_at DESC, id OFFSET $2)",
                &[&kind, &KEPT_SIGN_INS],
            )
            .await?;
        })
    }

    async fn sign_in(&self, kind: SignInKind, id: &str, now: DateTime<Utc>) -> StageResult<Option<String>> {
        let sql = "SELECT proof FROM sign_ins WHERE kind = $1 AND id = $2 AND expires_at > $3";
        let rows = self.rows("read a sign-in", sql, &[&kind.as_str(), &id, &now]).await?;
        Ok(rows.first().map(|row| row.get(0)))
    }

    async fn take_sign_in(
        &self,
        kind: SignInKind,
        id: &str,
        now: DateTime<Utc>,
    ) -> StageResult<Option<String>> {
        let sql = "DELETE FROM sign_ins WHERE kind = $1 AND id = $2 AND expires_at > $3 RETURNING proof";
        let rows = self.rows("use a sign-in", sql, &[&kind.as_str(), &id, &now]).await?;
        Ok(rows.first().map(|row| row.get(0)))
    }
}
