//! Every repository that a project selects, as the last listing had it: also those that were refused or
//! never indexed.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, params};

use super::SqliteState;
use crate::model::StageResult;
use crate::state::repository::SelectedRepository;

impl SqliteState {
    /// The repositories that a project selects, by name; none before its first listing.
    pub fn selected_repositories(&self, project: i64) -> StageResult<BTreeMap<String, SelectedRepository>> {
        self.read("read the selected repositories", |conn| selected(conn, project))
    }

    /// Records what a listing selected. What is known of a repository that stays is kept.
    pub fn record_selected(&self, project: i64, names: &BTreeSet<String>) -> StageResult<()> {
        let known = self.selected_repositories(project)?;
        // Most listings select what the one before selected: nothing is written then.
        if known.keys().eq(names) {
            return Ok(());
        }
        self.write("record the selected repositories", |tx| {
            let mut delete =
                tx.prepare_cached("DELETE FROM selected_repositories WHERE project_id = ?1 AND name = ?2")?;
            for gone in known.keys().filter(|name| !names.contains(*name)) {
                delete.execute(params![project, gone])?;
            }
            let mut insert = tx.prepare_cached(
                "INSERT OR IGNORE INTO selected_repositories (project_id, name) VALUES (?1, ?2)",
            )?;
            for name in names {
                insert.execute(params![project, name])?;
            }
            Ok(())
        })
    }

    /// Records what a run found out about selected repositories. `complete`: the run came to its end, so
    /// that nothing is wrong with those that `found` does not name.
    pub fn record_findings(
        &self,
        project: i64,
        found: &BTreeMap<String, SelectedRepository>,
        complete: bool,
    ) -> StageResult<()> {
        let known = self.selected_repositories(project)?;
        let fine = SelectedRepository::default();
        let changed: Vec<(&String, &SelectedRepository)> = known
            .iter()
            .filter_map(|(name, before)| {
                let now = found.get(name).or_else(|| complete.then_some(&fine))?;
                (now != before).then_some((name, now))
            })
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        self.write("record the state of repositories", |tx| {
            let mut update = tx.prepare_cached(
                "UPDATE selected_repositories SET error = ?3, empty = ?4 WHERE project_id = ?1 AND name = ?2",
            )?;
            for (name, now) in changed {
                update.execute(params![project, name, now.error, now.empty])?;
            }
            Ok(())
        })
    }
}

fn selected(conn: &Connection, project: i64) -> rusqlite::Result<BTreeMap<String, SelectedRepository>> {
    conn.prepare_cached("SELECT name, error, empty FROM selected_repositories WHERE project_id = ?1")?
        .query_map([project], |row| {
            Ok((row.get(0)?, SelectedRepository { error: row.get(1)?, empty: row.get(2)? }))
        })?
        .collect()
}
