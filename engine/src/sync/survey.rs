//! Which repositories there are, and which of those that the ledger knows are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::project_run::{ProjectRun, StateAnswers};
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

/// Lists what is selected and compares it with what is recorded. `last_selection`: the fingerprint of the
/// selection of the last finished run.
pub(crate) async fn survey(run: &Arc<ProjectRun>, last_selection: Option<String>) -> StageResult<Discovery> {
    let project = &run.project;
    let lease = if run.dry { None } else { Some(run.lease()?.clone()) };
    let answers = StateAnswers { state: Arc::clone(&run.engine.state), lease };
    let listing = project.source.list(&project.selection, &answers, run.options.full).await?;
    record_listing(run, &listing).await?;
    let rows = run.state.repositories(run.name()).await?.into_iter();
    let mut rows: BTreeMap<String, RepositoryRow> = rows.map(|row| (row.name.clone(), row)).collect();

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

/// Reports repositories that vanished, each with the cause, and since when they are missing.
pub(crate) async fn report_orphans(
    run: &Arc<ProjectRun>,
    orphans: Vec<(String, &'static str)>,
) -> StageResult<()> {
    if orphans.is_empty() {
        return Ok(());
    }
    let since: BTreeMap<String, DateTime<Utc>> = if run.dry {
        let rows = run.state.repositories(run.name()).await?.into_iter();
        rows.filter_map(|row| Some((row.name, row.orphan_since?))).collect()
    } else {
        let names = orphans.iter().map(|(name, _)| name.clone()).collect();
        run.state.mark_orphans(run.fence()?, run.name(), names, Utc::now()).await?
    };
    for (name, cause) in orphans {
        let days = since.get(&name).map_or(0, |since| (Utc::now() - since).num_days());
        let age = match days {
            0 => "since today".to_owned(),
            1 => "for 1 day".to_owned(),
            n => format!("for {n} days"),
        };
        run.note(format!(
            "repository `{name}` {cause} ({age}): its files stay searchable; remove them with `reposync apply --prune`"
        ));
    }
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
