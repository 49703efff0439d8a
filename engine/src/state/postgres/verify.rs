//! What the state believes to be in a place, for `verify`.

use std::collections::BTreeMap;

use super::targets::Numbers;
use crate::postgres::{Failure, Row, Transaction};
use crate::state::ids::{FileIds, FileKey};
use crate::state::project::Believed;

/// Everything in a place; `None` if it was never adopted for the project.
pub(super) async fn believed(
    tx: &Transaction,
    Numbers { target, place, .. }: Numbers,
) -> Result<Option<Believed>, Failure> {
    let sql = "SELECT 1 FROM targets WHERE id = $1 AND adopted_at IS NOT NULL";
    if tx.row(sql, &[&target]).await?.is_none() {
        return Ok(None);
    }
    let recorded = "SELECT chunks.id FROM targets JOIN files ON target_id = targets.id
         JOIN chunks ON file_id = files.id WHERE place_id = $1";
    let open =
        "SELECT id FROM intents WHERE place_id = $1 UNION SELECT id FROM leftovers WHERE place_id = $1";
    let own = "SELECT file_id, repository, file_path, chunks.id FROM files JOIN chunks ON file_id = files.id
         WHERE target_id = $1";
    let (recorded, open, own) =
        futures::try_join!(tx.rows(recorded, &[&place]), tx.rows(open, &[&place]), tx.rows(own, &[&target]))?;
    let mut files: BTreeMap<i64, FileIds> = BTreeMap::new();
    for row in &own {
        let empty =
            || FileIds { file: FileKey { repository: row.get(1), path: row.get(2) }, ids: Vec::new() };
        files.entry(row.get(0)).or_insert_with(empty).ids.push(row.get(3));
    }
    let ids = |rows: &[Row]| rows.iter().map(|row| row.get(0)).collect();
    Ok(Some(Believed { recorded: ids(&recorded), open: ids(&open), files: files.into_values().collect() }))
}
