//! How current each project is, as far as the state can tell. The number of statements does not depend on how many
//! projects there are.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::repositories::{OF_ALL, repository};
use super::targets::place_at;
use crate::model::{DeclaredProject, LastRun, OrphanPlace, Outcome, StatusView, Target, TargetState};
use crate::postgres::{Failure, Row, Transaction};
use crate::state::repository::SelectedRepository;
use crate::state::status::{Counts, ProjectFacts, never_ran, project_status, remedy};

const SELECTED: &str = "SELECT project_rows.name, own.name, error, empty
     FROM project_rows JOIN selected_repositories AS own ON project_id = project_rows.id";
const COUNTS: &str =
    "SELECT name, repository, count(*) FILTER (WHERE embedding_count > 0), sum(embedding_count)::bigint,
         count(*) FILTER (WHERE status = 'failed')
     FROM project_rows JOIN targets ON project_id = project_rows.id JOIN files ON target_id = targets.id
     GROUP BY name, repository";
const INTENTS: &str = "SELECT project, count(*) FROM intents GROUP BY project";
const TARGETS: &str = "SELECT name, kind, host, idx, places.namespace, state, adopted_at
     FROM project_rows JOIN targets ON project_id = project_rows.id JOIN places ON places.id = place_id
     ORDER BY state = 'live' DESC, targets.id";
const RUNS: &str = "SELECT project, run_id, finished_at, outcome, error, withheld::text FROM last_runs";
const LEFTOVERS: &str = "SELECT kind, host, idx, namespace, count(*)
     FROM leftovers JOIN places ON places.id = place_id GROUP BY places.id ORDER BY places.id";

/// The status of the declared projects, in that order, then of those that only the state knows.
pub(super) async fn status(
    tx: &Transaction,
    declared: &[DeclaredProject],
    now: DateTime<Utc>,
) -> Result<StatusView, Failure> {
    let mut facts = facts(tx).await?;
    let mut projects = Vec::new();
    for project in declared {
        let mut status = match facts.remove(&project.name) {
            Some(facts) => project_status(&project.name, &project.repositories, facts),
            None => never_ran(&project.name, &project.repositories),
        };
        (status.enabled, status.declared) = (project.enabled, true);
        projects.push(status);
    }
    for (name, facts) in facts {
        let mut status = project_status(&name, &[], facts);
        (status.enabled, status.declared) = (true, false);
        projects.push(status);
    }
    let runs: BTreeMap<String, LastRun> =
        tx.rows(RUNS, &[]).await?.iter().map(|row| (row.get(0), last_run(row))).collect();
    for project in &mut projects {
        project.last_run = runs.get(&project.project).cloned();
        project.sum_up_behind(now);
    }
    let orphan_places = tx.rows(LEFTOVERS, &[]).await?.iter().map(left_behind).collect();
    Ok(StatusView { at: now, projects, running: None, orphan_places, refused_config: None })
}

/// What is recorded of each project, by name.
async fn facts(tx: &Transaction) -> Result<BTreeMap<String, ProjectFacts>, Failure> {
    let (names, selected, repositories, counts, intents, targets) = futures::try_join!(
        tx.rows("SELECT name FROM project_rows", &[]),
        tx.rows(SELECTED, &[]),
        tx.rows(OF_ALL, &[]),
        tx.rows(COUNTS, &[]),
        tx.rows(INTENTS, &[]),
        tx.rows(TARGETS, &[]),
    )?;
    let mut facts: BTreeMap<String, ProjectFacts> =
        names.iter().map(|row| (row.get(0), ProjectFacts::default())).collect();
    each(&mut facts, &selected, |facts, row| {
        facts.selected.insert(row.get(1), SelectedRepository { error: row.get(2), empty: row.get(3) });
    });
    each(&mut facts, &counts, |facts, row| {
        let number = |column| row.get::<_, i64>(column).unsigned_abs();
        let counts = Counts { files: number(2), vectors: number(3), failed: number(4) };
        facts.counts.insert(row.get(1), counts);
    });
    each(&mut facts, &intents, |facts, row| facts.open_intents = row.get::<_, i64>(1).unsigned_abs());
    let mut newest: BTreeMap<String, DateTime<Utc>> = BTreeMap::new();
    each(&mut facts, &targets, |facts, row| {
        let (place, state) = (place_at(row, 1), TargetState::parse(row.get(5)));
        if state != TargetState::Retired {
            facts.targets.push(Target { place: place.to_string(), state });
        }
        // Where the vectors went last: the place adopted last.
        if let Some(adopted) = row.get::<_, Option<DateTime<Utc>>>(6)
            && newest.get(row.get::<_, &str>(0)).is_none_or(|newest| adopted > *newest)
        {
            newest.insert(row.get(0), adopted);
            facts.place = Some(place);
        }
    });
    for row in &repositories {
        if let Some(facts) = facts.get_mut(row.get::<_, &str>(13)) {
            facts.repositories.push(repository(row));
        }
    }
    Ok(facts)
}

/// Enters rows whose first column is the project's name.
fn each(
    facts: &mut BTreeMap<String, ProjectFacts>,
    rows: &[Row],
    mut enter: impl FnMut(&mut ProjectFacts, &Row),
) {
    for row in rows {
        if let Some(facts) = facts.get_mut(row.get::<_, &str>(0)) {
            enter(facts, row);
        }
    }
}

fn last_run(row: &Row) -> LastRun {
    LastRun {
        run: row.get(1),
        finished_at: row.get(2),
        outcome: serde_json::from_value(row.get::<_, String>(3).into()).unwrap_or(Outcome::Failed),
        error: row.get(4),
        withheld: serde_json::from_str(row.get(5)).unwrap_or_default(),
    }
}

/// A place where vectors were left that no run could delete: what a run reaches, it cleans.
fn left_behind(row: &Row) -> OrphanPlace {
    let place = place_at(row, 0);
    OrphanPlace {
        remedy: remedy(&place.kind),
        place: place.to_string(),
        vectors: row.get::<_, i64>(4).unsigned_abs(),
    }
}
