//! Which repositories a project selects, and what the last run found out about each.

use std::collections::{BTreeMap, BTreeSet};

use super::store::text;
use super::targets::{entered, project_id};
use crate::postgres::{Failure, Transaction};
use crate::state::repository::SelectedRepository;

/// The selected repositories of a project.
pub(super) async fn selected(
    tx: &Transaction,
    project: i64,
) -> Result<BTreeMap<String, SelectedRepository>, Failure> {
    let sql = "SELECT name, error, empty FROM selected_repositories WHERE project_id = $1";
    let rows = tx.rows(sql, &[&project]).await?;
    Ok(rows
        .iter()
        .map(|row| (row.get(0), SelectedRepository { error: row.get(1), empty: row.get(2) }))
        .collect())
}

pub(super) async fn record_listing(
    tx: &Transaction,
    project: &str,
    names: &BTreeSet<String>,
    selection: &str,
) -> Result<(), Failure> {
    let id = entered(tx, project).await?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    futures::try_join!(
        tx.run(
            "UPDATE project_rows SET selection = $2 WHERE id = $1 AND selection IS NULL",
            &[&id, &selection]
        ),
        tx.run("DELETE FROM selected_repositories WHERE project_id = $1 AND name <> ALL ($2)", &[&id, &names]),
        tx.run(
            "INSERT INTO selected_repositories (project_id, name) SELECT $1, name FROM unnest($2::text[]) AS name
             ON CONFLICT DO NOTHING",
            &[&id, &names],
        ),
        tx.end(),
    )?;
    Ok(())
}

/// Records what differs from what is recorded. `complete`: nothing is wrong with those that `found` does not name.
pub(super) async fn record(
    tx: &Transaction,
    project: &str,
    found: &BTreeMap<String, SelectedRepository>,
    complete: bool,
) -> Result<(), Failure> {
    let Some(id) = project_id(tx, project).await? else { return Ok(()) };
    let fine = SelectedRepository::default();
    for (name, before) in selected(tx, id).await? {
        let now = found.get(&name).or_else(|| complete.then_some(&fine));
        if let Some(now) = now.filter(|now| **now != before) {
            let error = now.error.as_deref().map(text);
            let sql =
                "UPDATE selected_repositories SET error = $3, empty = $4 WHERE project_id = $1 AND name = $2";
            tx.run(sql, &[&id, &name, &error, &now.empty]).await?;
        }
    }
    Ok(())
}
