//! Which repositories there are, and which of those that the ledger knows are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::Utc;

use super::project_run::{LedgerAnswers, ProjectRun};
use super::selected::record_listing;
use super::setup::{named, selection_fingerprint};
use crate::model::{RepoEntry, StageError, StageResult};
use crate::plan::{Missing, MissingReason};
use crate::state::RepositoryRow;

/// Why a repository is reported that its source does not list.
const NOT_LISTED: &str = "is not in the listing any more";

/// The repositories of a project's run.
pub(crate) struct Discovery {
    /// Those that are listed and selected, by name.
    pub(crate) listed: Vec<Listed>,
    /// Those that the ledger knows and the listing does not show.
    pub(crate) missing: Vec<Missing>,
}

/// A repository that is there.
pub(crate) struct Listed {
    pub(crate) entry: RepoEntry,
    /// What the ledger knows of it.
    pub(crate) known: Option<RepositoryRow>,
}

/// Lists what is selected and compares it with what the ledger knows.
pub(crate) async fn survey(run: &Arc<ProjectRun>) -> StageResult<Discovery> {
    let project = &run.project;
    let answers = LedgerAnswers { ledger: Arc::clone(&run.engine.ledger), dry: run.dry };
    let listing = project.source.list(&project.selection, &answers, run.options.full).await?;
    record_listing(run, &listing).await?;
    let (dry, selection) = (run.dry, selection_fingerprint(&project.selection).to_string());
    let (mut rows, last_selection) = run
        .ledger(move |ledger, (id, _)| {
            let rows: BTreeMap<String, RepositoryRow> =
                ledger.repositories(id)?.into_iter().map(|row| (row.name.clone(), row)).collect();
            let last = ledger.last_selection(id)?;
            // Recorded at the first listing, so that an edit before the first run has finished is detected.
            if last.is_none() && !dry {
                ledger.set_selection(id, &selection)?;
            }
            Ok((rows, last))
        })
        .await?;

    for (repo, error) in &listing.refused {
        rows.remove(&repo.name);
        run.repository_failed(&repo.name, error);
    }
    for repo in &listing.missing {
        run.repository_failed(
            &repo.name,
            &StageError::refused(
                project.source.stage(),
                "the repository is not there, or not visible to these credentials",
            )
            .hint("check its name and the permissions, or take it out of `repositories`"),
        );
    }
    let empty = listing.repositories.is_empty();
    let renames: BTreeMap<String, String> = listing
        .repositories
        .iter()
        .filter(|entry| !entry.repo.key.is_empty())
        .map(|entry| (entry.repo.key.clone(), entry.repo.name.clone()))
        .collect();
    let mut listed: Vec<Listed> = listing
        .repositories
        .into_iter()
        .map(|entry| Listed { known: rows.remove(&entry.repo.name), entry })
        .collect();
    listed.sort_by(|a, b| a.entry.repo.name.cmp(&b.entry.repo.name));

    let edited =
        last_selection.is_some_and(|last| last != selection_fingerprint(&project.selection).as_str());
    let asked_for = named(&project.selection);
    let missing = rows
        .into_values()
        .map(|row| {
            let reason = if let Some(name) = renames.get(&row.key) {
                MissingReason::Renamed(name.clone())
            } else {
                // What the file names, the file takes back; an owner's listing that came back empty
                // takes nothing back.
                let deselected = match &asked_for {
                    Some(names) => !names.contains(row.name.as_str()),
                    None => !empty,
                };
                if edited && deselected {
                    MissingReason::Deselected
                } else {
                    MissingReason::Orphan { certain: !empty }
                }
            };
            Missing { name: row.name, reason, cause: NOT_LISTED }
        })
        .collect();
    Ok(Discovery { listed, missing })
}

/// Reports a vanished repository, with its age.
pub(crate) async fn report_orphan(run: &Arc<ProjectRun>, name: &str, cause: &str) -> StageResult<()> {
    let repository = name.to_owned();
    let dry = run.dry;
    let since = run
        .ledger(move |ledger, (id, _)| {
            if dry {
                return Ok(ledger.repository(id, &repository)?.and_then(|row| row.orphan_since));
            }
            ledger.mark_orphan(id, &repository, Utc::now()).map(Some)
        })
        .await?;
    let days = since.map_or(0, |since| (Utc::now() - since).num_days());
    let age = match days {
        0 => "since today".to_owned(),
        1 => "for 1 day".to_owned(),
        n => format!("for {n} days"),
    };
    run.note(format!(
        "repository `{name}` {cause} ({age}): its files stay searchable; remove them with `reposync apply --prune`"
    ));
    Ok(())
}

/// Reports repositories without commits, so that users see why nothing of them is indexed.
pub(crate) fn report_empty(run: &ProjectRun, empty: &BTreeSet<String>) {
    const NAMED: usize = 5;
    if empty.is_empty() {
        return;
    }
    let mut names: Vec<String> = empty.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    if empty.len() > NAMED {
        names.push(format!("and {} more", empty.len() - NAMED));
    }
    run.note(format!("without commits: {}", names.join(", ")));
}
