//! The state of one project in the dispatcher. No I/O.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::pending::Pending;
use super::view::ProjectView;
use crate::model::{Outcome, ProjectReport};

/// Back-off in seconds after a failed run: doubled with each further failure, up to the maximum. A
/// longer `Retry-After` of the service takes precedence.
const FIRST_RETRY: u64 = 60;
const MAX_RETRY: u64 = 3600;

#[derive(Default)]
pub(super) struct ProjectState {
    pub(super) pending: Option<Pending>,
    /// Approved plans, which are carried out first, one after the other.
    pub(super) approved: VecDeque<Pending>,
    pub(super) active: Option<Active>,
    pub(super) view: ProjectView,
    /// Consecutive failed runs.
    failures: u32,
}

/// A running run.
pub(super) struct Active {
    pub(super) request: Pending,
    pub(super) started_at: DateTime<Utc>,
    pub(super) cancel: CancellationToken,
}

impl ProjectState {
    /// Queues a request, merged into the queued run if there is one. Returns the id of the run that
    /// will serve it.
    pub(super) fn ask(&mut self, asked: Pending) -> String {
        match &mut self.pending {
            Some(pending) => pending.merge(asked),
            None => self.pending = Some(asked),
        }
        self.pending.as_ref().map(|pending| pending.run.clone()).unwrap_or_default()
    }

    /// The run to start next, which is taken out of the queue.
    pub(super) fn next(&mut self) -> Option<Pending> {
        self.approved.pop_front().or_else(|| self.pending.take())
    }

    /// The runs that wait, in their order.
    pub(super) fn queued(&self) -> impl Iterator<Item = &Pending> {
        self.approved.iter().chain(&self.pending)
    }

    /// Cancels the active and the queued run if they are among these. True if one was.
    pub(super) fn cancel(&mut self, runs: &[String]) -> bool {
        let before = self.approved.len();
        self.approved.retain(|request| !runs.contains(&request.run));
        let queued = self.pending.take_if(|pending| runs.contains(&pending.run)).is_some()
            || self.approved.len() < before;
        let active = self.active.as_ref().filter(|active| runs.contains(&active.request.run));
        if let Some(active) = active {
            active.cancel.cancel();
        }
        queued || active.is_some()
    }

    /// Cancels everything: another daemon starts runs now.
    pub(super) fn give_up(&mut self) {
        if let Some(active) = &self.active {
            active.cancel.cancel();
        }
        (self.pending, self.view.retry_at) = (None, None);
        self.approved.clear();
    }

    /// Records the end of a run. The request of an interrupted run is merged into the queued one.
    pub(super) fn ended(&mut self, report: Option<&ProjectReport>, now: DateTime<Utc>) {
        let Some(active) = self.active.take() else { return };
        let outcome = report.map(|report| report.outcome);
        if outcome.is_none_or(|outcome| outcome == Outcome::Interrupted) {
            if let Some(pending) = &mut self.pending {
                pending.merge(active.request);
            }
            return;
        }
        let Some(report) = report else { return };
        self.view.last_outcome = outcome;
        self.view.finished_at = Some(now);
        self.view.last_error = report.error.as_ref().map(|failure| failure.error.clone());
        self.view.retry_at = None;
        if active.request.plan.is_some() {
            // Only the plan was approved; a retry would be another run.
        } else if outcome == Some(Outcome::Failed) {
            let wait = (FIRST_RETRY << self.failures.min(10)).min(MAX_RETRY);
            let wait = report.retry_after.unwrap_or(0).max(wait);
            // Caps the service's `Retry-After`, so that a bad value cannot disable a project.
            let wait = i64::try_from(wait).unwrap_or(i64::MAX).min(24 * 3600);
            self.view.retry_at = Some(now + chrono::Duration::seconds(wait));
            self.failures += 1;
        } else {
            self.failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pending::Trigger;
    use super::*;
    use crate::model::Counts;

    fn report(outcome: Outcome, retry_after: Option<u64>) -> ProjectReport {
        ProjectReport {
            project: "p".into(),
            outcome,
            counts: Counts::default(),
            skipped: Vec::new(),
            failures: Vec::new(),
            error: None,
            retry_after,
            withheld: Vec::new(),
            notes: Vec::new(),
            search_quality: None,
        }
    }

    fn active(run: &str) -> Active {
        let request = Pending { full: true, ..Pending::new(run.into(), Trigger::Api) };
        Active { request, started_at: Utc::now(), cancel: CancellationToken::new() }
    }

    #[test]
    fn requests_during_a_run_become_one_run_after_it() {
        let mut state = ProjectState { active: Some(active("1")), ..ProjectState::default() };
        assert_eq!(state.ask(Pending::new("2".into(), Trigger::Push)), "2");
        assert_eq!(state.ask(Pending::new("3".into(), Trigger::Api)), "2");
        state.ended(Some(&report(Outcome::Done, None)), Utc::now());
        let pending = state.pending.expect("asked for");
        assert_eq!((pending.run.as_str(), pending.full), ("2", false));
    }

    #[test]
    fn what_a_stopped_run_was_asked_for_is_not_lost() {
        let mut state = ProjectState { active: Some(active("1")), ..ProjectState::default() };
        state.ask(Pending::new("2".into(), Trigger::Edit));
        state.ended(Some(&report(Outcome::Interrupted, None)), Utc::now());
        assert!(state.pending.expect("asked for").full);
        assert_eq!(state.view.last_outcome, None);
    }

    #[test]
    fn approved_plans_run_before_others_and_are_not_merged_or_retried() {
        let mut state = ProjectState { active: Some(active("1")), ..ProjectState::default() };
        state.ask(Pending::new("2".into(), Trigger::Push));
        for run in ["3", "4", "5"] {
            state.approved.push_back(Pending::of_plan(run.into(), format!("plan {run}")));
        }
        assert!(state.cancel(&["4".into()]));
        assert_eq!(state.queued().map(|request| request.run.as_str()).collect::<Vec<_>>(), ["3", "5", "2"]);
        let next = state.next().expect("approved");
        assert_eq!((next.run.as_str(), next.plan.as_deref()), ("3", Some("plan 3")));
        state.active = Some(Active { request: next, ..active("3") });
        state.ended(Some(&report(Outcome::Failed, None)), Utc::now());
        assert_eq!((state.view.last_outcome, state.view.retry_at), (Some(Outcome::Failed), None));
        assert_eq!(
            [state.next(), state.next(), state.next()].map(|next| next.map(|next| next.run)),
            [Some("5".into()), Some("2".into()), None]
        );
    }

    #[test]
    fn only_the_named_runs_are_cancelled() {
        let mut state = ProjectState { active: Some(active("1")), ..ProjectState::default() };
        state.ask(Pending::new("2".into(), Trigger::Api));
        assert!(!state.cancel(&["3".into()]));
        assert!(state.cancel(&["2".into()]) && state.pending.is_none());
        assert!(!state.active.as_ref().expect("running").cancel.is_cancelled());
        assert!(state.cancel(&["1".into()]));
        assert!(state.active.expect("until it ends").cancel.is_cancelled());
    }

    #[test]
    fn failed_runs_are_retried_with_back_off() {
        let now = Utc::now();
        let mut state = ProjectState::default();
        let mut waits = Vec::new();
        for retry_after in [None, None, Some(7200), None, None, None, None, None, Some(u64::MAX)] {
            state.active = Some(active("1"));
            state.ended(Some(&report(Outcome::Failed, retry_after)), now);
            waits.push((state.view.retry_at.expect("again") - now).num_seconds());
        }
        assert_eq!(waits, [60, 120, 7200, 480, 960, 1920, 3600, 3600, 86_400]);
        state.active = Some(active("1"));
        state.ended(Some(&report(Outcome::Done, None)), now);
        assert_eq!(state.view.retry_at, None);
    }
}
