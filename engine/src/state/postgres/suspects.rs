//! Ids that a late call to a store may still change: a process whose lease was taken over may have sent one just before
//! it stopped or lost its connection. Some time later their files are written once more.

use super::targets::touch;
use crate::postgres::{Failure, Transaction};
use crate::state::fence::Fence;

/// When the files are looked at, counted from the takeover: no call to a store takes longer.
pub(super) const LOOK_AT: &str = "now() + interval '10 minutes'";

/// Deletes leases on projects that lapsed. What they had open is suspect.
pub(super) async fn end_lapsed(tx: &Transaction) -> Result<(), Failure> {
    // One that is locked belongs to a transaction that is still open: it is held.
    let sql = format!(
        "WITH lapsed AS (
             DELETE FROM leases WHERE epoch IN (
                 SELECT epoch FROM leases WHERE unit IS NULL AND until <= now() FOR UPDATE SKIP LOCKED)
             RETURNING epoch),
         counted AS (UPDATE takeovers SET n = n + (SELECT count(*) FROM lapsed) WHERE EXISTS (SELECT 1 FROM lapsed))
         {}",
        suspect("epoch IN (SELECT epoch FROM lapsed)")
    );
    tx.run(&sql, &[]).await.map(drop)
}

/// The statement that makes ids of open intents suspect.
pub(super) fn suspect(intents: &str) -> String {
    format!(
        "INSERT INTO suspects SELECT place_id, id, project, repository, file_path, {LOOK_AT} FROM intents
         WHERE {intents} ON CONFLICT (place_id, id) DO UPDATE SET look_at = excluded.look_at"
    )
}

/// Opens intents on the suspect ids of a project that are due: a run writes their files once more, and deletes ids
/// that none of them has. `id`: the project's number.
pub(super) async fn reopen(
    tx: &Transaction,
    fence: Fence,
    (id, project): (i64, &str),
) -> Result<(), Failure> {
    let rows = tx
        .rows(
            "WITH due AS (DELETE FROM suspects WHERE project = $1 AND look_at <= now() RETURNING *),
             opened AS (
                 INSERT INTO intents SELECT place_id, id, project, repository, file_path, $2 FROM due
                 ON CONFLICT DO NOTHING)
             SELECT DISTINCT repository FROM due",
            &[&project, &fence.epoch],
        )
        .await?;
    let repositories: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    if !repositories.is_empty() {
        touch(tx, id, repositories).await?;
    }
    Ok(())
}
