//! Recording what a place held before the ledger knew of it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, params};

use super::rows::{entered, put_place, timestamp, touch_all};
use super::targets::{of_project, put_target};
use crate::model::Place;
use crate::state::project::AdoptedRecord;

/// Records what a place holds of a project, and that the place is known.
pub(super) fn adopt(
    conn: &Connection,
    name: &str,
    place: &Place,
    records: Vec<AdoptedRecord>,
    now: DateTime<Utc>,
) -> rusqlite::Result<()> {
    let project = entered(conn, name)?;
    let (target, place) = (put_target(conn, project, place)?, put_place(conn, place)?);
    let mut files: BTreeMap<(String, String), Vec<(String, String)>> = BTreeMap::new();
    for AdoptedRecord { id, repository, path, fingerprint } in records {
        files.entry((repository, path)).or_default().push((id, fingerprint.to_string()));
    }
    for ((repository, path), records) in &files {
        let row: Option<i64> = conn
            .prepare_cached(concat!(
                "INSERT INTO files (target_id, repository, file_path, embedding_count, status)
                 SELECT ?5, ?2, ?3, ?4, 'adopted' WHERE NOT EXISTS (SELECT 1 FROM files WHERE ",
                of_project!(),
                " AND repository = ?2 AND file_path = ?3) RETURNING id"
            ))?
            .query_row(params![project, repository, path, records.len(), target], |row| row.get(0))
            .optional()?;
        for (id, fingerprint) in records {
            match row {
                Some(file) => conn
                    .prepare_cached("INSERT OR REPLACE INTO chunks VALUES (?1, ?2, ?3)")?
                    .execute(params![file, id, fingerprint])?,
                None => conn
                    .prepare_cached("INSERT OR IGNORE INTO leftovers VALUES (?1, ?2, ?3, ?4, ?5)")?
                    .execute(params![place, id, name, repository, path])?,
            };
        }
        conn.prepare_cached(
            "INSERT OR IGNORE INTO repositories (project_id, name, key) VALUES (?1, ?2, '')",
        )?
        .execute(params![project, repository])?;
    }
    conn.execute(
        "UPDATE targets SET adopted_at = coalesce(adopted_at, ?2) WHERE id = ?1",
        params![target, timestamp(now)],
    )?;
    touch_all(conn, project, files.keys().map(|(repository, _)| repository.as_str()))
}
