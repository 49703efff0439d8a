//! What asked for a run, and how several askings become one. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// What asks for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// The daemon started; what was missed while it was down is part of it.
    Start,
    /// The project's schedule.
    Schedule,
    /// A push, or another event of a repository.
    Push,
    /// `POST /sync`.
    Api,
    /// An edit of the file or of a component.
    Edit,
    /// A run that ended early is tried again.
    Retry,
}

impl Trigger {
    /// As reports name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Schedule => "schedule",
            Self::Push => "push",
            Self::Api => "api",
            Self::Edit => "edit",
            Self::Retry => "retry",
        }
    }
}

/// A push may name so many heads before it; older ones are forgotten.
const BEFORES: usize = 16;

/// A repository that a push named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pushed {
    /// Heads before the pushes: a head that is still one of these is asked again.
    pub(super) before: BTreeSet<String>,
    /// How often it was asked again.
    pub(super) asked: u32,
}

/// A run that is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pending {
    /// Its id, given out already.
    pub(super) run: String,
    /// The request that it is part of; the run's own id where it is alone.
    pub(super) request: String,
    /// What asked first.
    pub(super) trigger: Trigger,
    /// Believe neither ledger nor stored answers.
    pub(super) full: bool,
    /// Let the deletion guard pass everything.
    pub(super) allow_deletes: bool,
    /// Let the spending guard pass everything.
    pub(super) allow_cost: bool,
    /// Repositories whose heads are asked whatever the listing says.
    pub(super) pushed: BTreeMap<String, Pushed>,
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
        }
    }

    /// Takes up what another asking wants. The first one's id and trigger stay.
    pub(super) fn merge(&mut self, other: Self) {
        self.full |= other.full;
        self.allow_deletes |= other.allow_deletes;
        self.allow_cost |= other.allow_cost;
        for (repository, push) in other.pushed {
            let known = self.pushed.entry(repository).or_insert_with(|| push.clone());
            known.before.extend(push.before);
            while known.before.len() > BEFORES {
                known.before.pop_first();
            }
            // A new push starts its own count.
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
        assert!(pending.pushed["acme/docs"].before.len() <= BEFORES);
    }
}
