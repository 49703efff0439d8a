//! All projects of the dispatcher: what it shows of them, and how it takes them over from the one before.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::alias::Aliases;
use super::generation::Generation;
use super::peers::{Shown, Work};
use super::pending::Pending;
use super::schedule::Schedule;
use super::state::ProjectState;
use super::view::{ProjectView, RunState};
use crate::sync::run_id;

/// The state of the enabled projects by name, and the runs that are queued or running by id.
pub(super) fn show(
    projects: &mut BTreeMap<String, ProjectState>,
    schedule: &Schedule,
    generation: &Generation,
) -> (BTreeMap<String, ProjectView>, BTreeMap<String, RunState>) {
    let mut runs = BTreeMap::new();
    let mut views = BTreeMap::new();
    for (name, state) in projects {
        state.view.next_run = schedule.next(name);
        let mut enter = |request: &Pending, started_at| {
            let run = RunState {
                project: name.clone(),
                request: request.request.clone(),
                trigger: request.trigger,
                started_at,
            };
            runs.insert(request.run.clone(), run);
            request.run.clone()
        };
        state.view.running =
            state.active.as_ref().map(|active| enter(&active.request, Some(active.started_at)));
        let queued: Vec<String> = state.queued().map(|request| enter(request, None)).collect();
        state.view.queued = queued.into_iter().next();
        if generation.projects.contains_key(name) {
            views.insert(name.clone(), state.view.clone());
        }
    }
    (views, runs)
}

/// What was asked for and is not done. `later`: delayed requests.
pub(super) fn work(
    projects: &BTreeMap<String, ProjectState>,
    later: &[(Instant, String, Pending)],
) -> Vec<Work> {
    let mut all = Vec::new();
    for (project, state) in projects {
        let work =
            |request: &Pending, begun| Work { project: project.clone(), request: request.clone(), begun };
        all.extend(state.active.iter().map(|active| work(&active.request, true)));
        all.extend(state.queued().map(|request| work(request, false)));
        all.extend(later.iter().filter(|(_, name, _)| name == project).map(|(.., one)| work(one, false)));
    }
    all
}

/// Continues with what the dispatcher before has shown. Runs that it was at are queued again, under another id.
pub(super) fn take_over(
    projects: &mut BTreeMap<String, ProjectState>,
    shown: Shown,
    aliases: &Aliases,
    now: DateTime<Utc>,
) {
    aliases.take_up(shown.aliases);
    for (name, view) in shown.projects {
        if let Some(state) = projects.get_mut(&name) {
            state.view = view;
        }
    }
    for Work { project, mut request, begun } in shown.work {
        let Some(state) = projects.get_mut(&project) else { continue };
        match (begun, &request.plan) {
            // Whether it has ended is not known, and only the plan was approved.
            (true, Some(_)) => {}
            (false, Some(_)) => state.approved.push_back(request),
            (_, None) => {
                let known = request.run.clone();
                if begun {
                    // The history has a run of this id.
                    request.run = run_id(now);
                }
                let run = state.ask(request);
                if run != known {
                    aliases.put(known, vec![run]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pending::Trigger;
    use super::super::state::Active;
    use super::*;

    #[test]
    fn a_successor_continues_with_all_that_was_asked_for() {
        let active = |request: Pending| Active {
            request,
            started_at: Utc::now(),
            cancel: tokio_util::sync::CancellationToken::new(),
        };
        let asked = |run: &str| Pending::new(run.to_owned(), Trigger::Api);
        let mut docs = ProjectState::default();
        docs.active = Some(active(asked("1")));
        docs.ask(Pending { full: true, ..asked("2") });
        docs.approved.push_back(Pending::of_plan("3".into(), "plan 3".into()));
        let approved = Pending::of_plan("4".into(), "plan 4".into());
        let mut code = ProjectState::default();
        code.active = Some(active(approved));
        let mut before = BTreeMap::from([("docs".to_owned(), docs), ("code".to_owned(), code)]);
        let work = work(&before, &[]);
        let text = serde_json::to_string(&Shown { work, ..Shown::default() }).expect("JSON");

        let aliases = Aliases::default();
        for state in before.values_mut() {
            *state = ProjectState::default();
        }
        let shown = serde_json::from_str(&text).expect("the same");
        take_over(&mut before, shown, &aliases, Utc::now());
        let docs = &before["docs"];
        let pending = docs.pending.as_ref().expect("asked for");
        assert!(pending.full && pending.run != "1", "{pending:?}");
        assert_eq!(docs.approved.iter().map(|one| one.run.as_str()).collect::<Vec<_>>(), ["3"]);
        for run in ["1", "2"] {
            assert_eq!(aliases.of(run), Some(vec![pending.run.clone()]));
        }
        assert!(before["code"].queued().next().is_none(), "it was approved once");
    }
}
