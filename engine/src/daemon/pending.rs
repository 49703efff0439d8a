//! Queued run requests, and how requests for the same project coalesce. No I/O.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What triggered a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// The start of the daemon, which covers everything missed while it was down.
    Start,
    /// The project's schedule.
    Schedule,
    /// A push, or another event of a repository.
    Push,
    /// `POST /sync`.
    Api,
    /// A change of the file or of a component.
    Edit,
    /// The retry of a failed run.
    Retry,
    /// The approval of a stored plan.
    Plan,
}

impl Trigger {
    /// The name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Schedule => "schedule",
            Self::Push => "push",
            Self::Api => "api",
            Self::Edit => "edit",
            Self::Retry => "retry",
            Self::Plan => "plan",
        }
    }
}

/// Maximum number of pre-push heads kept per repository; further ones are dropped.
const MAX_BEFORE: usize = 16;

/// A repository that a push named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pushed {
    /// Heads before the pushes. A head that is still one of these is checked again later.
    pub(super) before: BTreeSet<String>,
    /// How many times the head was checked again.
    pub(super) asked: u32,
}

/// A queued run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    /// The run's id, which callers already have.
    pub(super) run: String,
    /// The id of the request that the run belongs to; equals `run` unless the request covers
    /// several projects.
    pub(super) request: String,
    /// The trigger of the first request that was merged into this one.
    pub(super) trigger: Trigger,
    /// Ignore the ledger and cached responses.
    pub(super) full: bool,
    /// Override the deletion guard.
    pub(super) allow_deletes: bool,
    /// Override the spending guard.
    pub(super) allow_cost: bool,
    /// Repositories whose heads are fetched even if the listing shows no change.
    pub(super) pushed: BTreeMap<String, Pushed>,
    /// The stored plan that the run carries out; `None`: it is planned when it starts.
    pub(super) plan: Option<String>,
}

impl Pending {
    pub(super) fn new(run: String, trigger: Trigger) -> Self {
        let request = run.clone();
        Self {
            run,
            request,
            trigger,
            full: false,
            allow_deletes: false,
            allow_cost: false,
            pushed: BTreeMap::new(),
            plan: None,
        }
    }

    /// A run that carries out a stored plan.
    pub(super) fn of_plan(run: String, plan: String) -> Self {
        Self { plan: Some(plan), ..Self::new(run, Trigger::Plan) }
    }

    /// Merges another request into this one, which keeps its id and trigger.
    pub(super) fn merge(&mut self, other: Self) {
        self.full |= other.full;
        self.allow_deletes |= other.allow_deletes;
        self.allow_cost |= other.allow_cost;
        for (repository, push) in other.pushed {
            let known = self.pushed.entry(repository).or_insert_with(|| push.clone());
            known.before.extend(push.before);
            while known.before.len() > MAX_BEFORE {
                known.before.pop_first();
            }
            // A new push restarts the count of checks.
            known.asked = known.asked.min(push.asked);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(run: &str, before: &str) -> Pending {
        let pushed = Pushed { before: BTreeSet::from([before.to_owned()]), asked: 0 };
        let pushed = BTreeMap::from([("acme/docs".to_owned(), pushed)]);
        Pending { pushed, ..Pending::new(run.to_owned(), Trigger::Push) }
    }

    #[test]
    fn nothing_that_was_asked_for_is_lost_in_a_merge() {
        let mut pending = push("1", "a");
        pending.merge(push("2", "b"));
        pending.merge(Pending { full: true, ..Pending::new("3".into(), Trigger::Api) });
        pending.merge(Pending { allow_deletes: true, ..Pending::new("4".into(), Trigger::Schedule) });
        pending.merge(Pending { allow_cost: true, ..Pending::new("5".into(), Trigger::Api) });
        assert_eq!((pending.run.as_str(), pending.trigger), ("1", Trigger::Push));
        assert!(pending.full && pending.allow_deletes && pending.allow_cost);
        let before: Vec<&str> = pending.pushed["acme/docs"].before.iter().map(String::as_str).collect();
        assert_eq!(before, ["a", "b"]);
    }

    #[test]
    fn a_storm_of_pushes_does_not_grow() {
        let mut pending = push("1", "0");
        for n in 0..10_000 {
            pending.merge(push("2", &n.to_string()));
        }
        assert_eq!(pending.pushed.len(), 1);
        assert!(pending.pushed["acme/docs"].before.len() <= MAX_BEFORE);
    }
}
