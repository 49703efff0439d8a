//! Every repository that a project selects, as the last listing had it: also those that were refused or
//! never indexed.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, params};

use super::rows::{entered, project_id};
use crate::state::repository::SelectedRepository;

/// The repositories that a project selects; none before its first listing.
pub(super) fn selected(
    conn: &Connection,
    project: i64,
) -> rusqlite::Result<BTreeMap<String, SelectedRepository>> {
    conn.prepare_cached("SELECT name, error, empty FROM selected_repositories WHERE project_id = ?1")?
        .query_map([project], |row| {
            Ok((row.get(0)?, SelectedRepository { error: row.get(1)?, empty: row.get(2)? }))
        })?
        .collect()
}

/// Whether a listing selects other repositories than the last one, or is the first one.
pub(super) fn listing_differs(
    conn: &Connection,
    project: &str,
    names: &BTreeSet<String>,
) -> rusqlite::Result<bool> {
    let Some(id) = project_id(conn, project)? else { return Ok(true) };
    let has_selection: bool =
        conn.query_row("SELECT selection IS NOT NULL FROM project_rows WHERE id = ?1", [id], |row| {
            row.get(0)
        })?;
    Ok(!has_selection || !selected(conn, id)?.keys().eq(names))
}

/// Records what a listing selects.
pub(super) fn record_listing(
    conn: &Connection,
    project: &str,
    names: &BTreeSet<String>,
    selection: &str,
) -> rusqlite::Result<()> {
    let id = entered(conn, project)?;
    // Recorded at the first listing, so that an edit before the first run has finished is detected.
    conn.execute(
        "UPDATE project_rows SET selection = ?2 WHERE id = ?1 AND selection IS NULL",
        params![id, selection],
    )?;
    let mut delete =
        conn.prepare_cached("DELETE FROM selected_repositories WHERE project_id = ?1 AND name = ?2")?;
    for gone in selected(conn, id)?.keys().filter(|name| !names.contains(*name)) {
        delete.execute(params![id, gone])?;
    }
    let mut insert = conn
        .prepare_cached("INSERT OR IGNORE INTO selected_repositories (project_id, name) VALUES (?1, ?2)")?;
    for name in names {
        insert.execute(params![id, name])?;
    }
    Ok(())
}

/// Selected repositories of which something else is known now.
pub(super) fn changed(
    conn: &Connection,
    project: &str,
    found: &BTreeMap<String, SelectedRepository>,
    complete: bool,
) -> rusqlite::Result<Vec<(String, SelectedRepository)>> {
    let Some(id) = project_id(conn, project)? else { return Ok(Vec::new()) };
    let fine = SelectedRepository::default();
    let changed = selected(conn, id)?.into_iter().filter_map(|(name, before)| {
        let now = found.get(&name).or_else(|| complete.then_some(&fine))?;
        (*now != before).then(|| (name, now.clone()))
    });
    Ok(changed.collect())
}

/// Records what is known of selected repositories now.
pub(super) fn record(
    conn: &Connection,
    project: &str,
    found: &BTreeMap<String, SelectedRepository>,
    complete: bool,
) -> rusqlite::Result<()> {
    let id = entered(conn, project)?;
    let mut update = conn.prepare_cached(
        "UPDATE selected_repositories SET error = ?3, empty = ?4 WHERE project_id = ?1 AND name = ?2",
    )?;
    for (name, now) in changed(conn, project, found, complete)? {
        update.execute(params![id, name, now.error, now.empty])?;
    }
    Ok(())
}
