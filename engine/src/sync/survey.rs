//! Which repositories there are, and which of those that the ledger knows are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::Utc;

use super::project_run::{LedgerAnswers, ProjectRun};
use super::selected::record_listing;
use super::setup::{named, selection_fingerprint};
use crate::ledger::RepositoryRow;
use crate::model::{RepoEntry, StageError, StageResult};

/// The repositories of a project's run.
pub(crate) struct Discovery {
    /// Those that are there and selected.
    pub(crate) present: Vec<Listed>,
    /// Those that the ledger knows and the listing does not show.
    pub(crate) gone: Vec<Missing>,
}

/// A repository that is there.
pub(crate) struct Listed {
    pub(crate) entry: RepoEntry,
    /// What the ledger knows of it.
    pub(crate) known: Option<RepositoryRow>,
}

/// A repository that the ledger knows and the listing does not show.
pub(crate) struct Missing {
    pub(crate) name: String,
    pub(crate) why: MissingReason,
}

/// Why a known repository is not among those listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MissingReason {
    /// The file does not select it any more: its files are to be removed, under the guard.
    Deselected,
    /// It has another name now: its files are indexed under that name, these are to be removed.
    Renamed(String),
    /// It vanished: reported, kept, removed with `--prune`. `certain` false: the whole listing
    /// came back empty, which is no reason to prune anything.
    Orphan {
        /// Whether the absence can be believed.
        certain: bool,
    },
}

impl MissingReason {
    /// A repository that was renamed and of which nothing is there under its new name (`absent`) is
    /// treated like one that vanished under its old name.
    pub(crate) fn unless_absent(self, absent: &BTreeSet<String>) -> Self {
        match self {
            Self::Renamed(to) if absent.contains(&to) => Self::Orphan { certain: true },
            why => why,
        }
    }
}

/// Lists what is selected and lays it beside the ledger.
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
            // An edit may come before the first run has finished: it is to be seen as one.
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
    let mut present: Vec<Listed> = listing
        .repositories
        .into_iter()
        .map(|entry| Listed { known: rows.remove(&entry.repo.name), entry })
        .collect();
    present.sort_by(|a, b| a.entry.repo.name.cmp(&b.entry.repo.name));

    let edited =
        last_selection.is_some_and(|last| last != selection_fingerprint(&project.selection).as_str());
    let asked_for = named(&project.selection);
    let gone = rows
        .into_values()
        .map(|row| {
            let why = if let Some(name) = renames.get(&row.key) {
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
            Missing { name: row.name, why }
        })
        .collect();
    Ok(Discovery { present, gone })
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

/// Tells of repositories that have nothing to index yet: who waits for them should know.
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
