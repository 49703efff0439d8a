//! How far a run is, summed up from its events.

use crate::model::{Event, Phase};

/// The phases in their order, with the words for people.
const PHASES: [(Phase, &str); 6] = [
    (Phase::List, "Compare"),
    (Phase::Fetch, "Fetch"),
    (Phase::Chunk, "Chunk"),
    (Phase::Embed, "Embed"),
    (Phase::Upsert, "Write"),
    (Phase::Commit, "Record"),
];

/// How far a run is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// The phases that have begun, in order.
    pub phases: Vec<PhaseProgress>,
    /// Which stage is waited for, how long and why; `None`: the run does not wait.
    pub waiting: Option<String>,
    /// The repository of the newest event that names one.
    pub repository: Option<String>,
}

/// How far a phase is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhaseProgress {
    /// Its name.
    pub name: &'static str,
    /// Items that are known to come, those that are done included.
    pub expected: u64,
    /// Items that are done.
    pub done: u64,
}

impl Progress {
    /// Adds an event.
    pub(super) fn add(&mut self, event: &Event) {
        match event {
            Event::Expected { phase, n } => self.phase(*phase).expected += n,
            Event::Done { phase, n } => self.phase(*phase).done += n,
            Event::RepositoryPlanned { repository, .. } | Event::FileIndexed { repository, .. } => {
                self.repository = Some(repository.clone());
            }
            _ => {}
        }
        match event {
            Event::Waiting { stage, seconds, reason } => {
                self.waiting = Some(format!("Waits {seconds:.0} s for `{stage}`: {reason}"));
            }
            Event::Done { .. } | Event::FileIndexed { .. } => self.waiting = None,
            _ => {}
        }
    }

    /// Adds another run of the same request.
    pub(super) fn merge(&mut self, other: Self) {
        for (phase, name) in PHASES {
            if let Some(one) = other.phases.iter().find(|one| one.name == name) {
                let own = self.phase(phase);
                own.expected += one.expected;
                own.done += one.done;
            }
        }
        self.waiting = other.waiting.or_else(|| self.waiting.take());
        self.repository = other.repository.or_else(|| self.repository.take());
    }

    /// The events that lead from an earlier state of the same run to this one.
    pub(super) fn since(&self, earlier: &Self) -> Vec<Event> {
        let mut events = Vec::new();
        for (phase, name) in PHASES {
            let of = |progress: &Self| {
                let found = progress.phases.iter().find(|one| one.name == name);
                found.map_or((0, 0), |one| (one.expected, one.done))
            };
            let ((expected, done), (expected_before, done_before)) = (of(self), of(earlier));
            if expected > expected_before {
                events.push(Event::Expected { phase, n: expected - expected_before });
            }
            if done > done_before {
                events.push(Event::Done { phase, n: done - done_before });
            }
        }
        events
    }

    fn phase(&mut self, phase: Phase) -> &mut PhaseProgress {
        let at = |name: &str| PHASES.iter().position(|(_, one)| *one == name).unwrap_or(PHASES.len());
        let name = PHASES.iter().find(|(one, _)| *one == phase).map_or("", |(_, name)| *name);
        let place = self.phases.iter().position(|one| at(one.name) >= at(name)).unwrap_or(self.phases.len());
        if self.phases.get(place).is_none_or(|one| one.name != name) {
            self.phases.insert(place, PhaseProgress { name, expected: 0, done: 0 });
        }
        &mut self.phases[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_summed_in_their_order() {
        let mut progress = Progress::default();
        for event in [
            Event::Expected { phase: Phase::Embed, n: 5 },
            Event::Expected { phase: Phase::List, n: 1 },
            Event::Done { phase: Phase::Embed, n: 2 },
            Event::Expected { phase: Phase::Embed, n: 1 },
            Event::Waiting { stage: "ada".into(), seconds: 2.0, reason: "429".into() },
        ] {
            progress.add(&event);
        }
        let shown = |progress: &Progress| {
            progress.phases.iter().map(|one| (one.name, one.done, one.expected)).collect::<Vec<_>>()
        };
        assert_eq!(shown(&progress), [("Compare", 0, 1), ("Embed", 2, 6)]);
        assert_eq!(progress.waiting.as_deref(), Some("Waits 2 s for `ada`: 429"));
        let mut sum = progress.clone();
        sum.merge(progress.clone());
        assert_eq!(shown(&sum), [("Compare", 0, 2), ("Embed", 4, 12)]);
        let before = progress.clone();
        progress.add(&Event::Done { phase: Phase::Embed, n: 1 });
        assert_eq!(progress.waiting, None);
        let mut again = before.clone();
        progress.since(&before).iter().for_each(|event| again.add(event));
        assert_eq!(shown(&again), shown(&progress));
    }
}
