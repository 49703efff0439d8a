//! How far a run is, summed up from its events.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::model::{Event, Phase};

/// Repositories that are known of a run; changes of further ones are part of the sums only.
const MOST_REPOSITORIES: usize = 1000;

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
    /// The repositories that are worked on or done, by project and name. Those of workers are units of the queue instead.
    pub repositories: BTreeMap<(String, String), RepositoryProgress>,
}

/// How far a repository is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RepositoryProgress {
    /// Files to be written.
    pub changes: u64,
    /// Files to be removed, which happens at the end of the run.
    pub removals: u64,
    /// Files that are written, or skipped for what they contain.
    pub done: u64,
    /// What failed: files, or the repository itself.
    pub failed: u64,
}

impl RepositoryProgress {
    /// Whether nothing is left to be written.
    pub fn is_done(self) -> bool {
        self.done + self.failed >= self.changes
    }
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
            Event::RepositoryPlanned { project, repository, changes, removals } => {
                self.repository = Some(repository.clone());
                if let Some(one) = self.of(project, repository, true) {
                    (one.changes, one.removals) = (*changes, *removals);
                }
            }
            Event::FileIndexed { project, repository, .. } => {
                self.repository = Some(repository.clone());
                if let Some(one) = self.of(project, repository, false) {
                    one.done += 1;
                }
            }
            Event::FileSkipped { project, repository, .. } => {
                if let Some(one) = self.of(project, repository, false) {
                    one.done += 1;
                }
            }
            Event::Failed { project, repository, .. } => {
                if let Some(one) = self.of(project, repository, true) {
                    one.failed += 1;
                }
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
        self.repositories.extend(other.repositories);
    }

    /// A repository that is known, or `is_new` and not one too many.
    fn of(&mut self, project: &str, repository: &str, is_new: bool) -> Option<&mut RepositoryProgress> {
        let key = (project.to_owned(), repository.to_owned());
        let has_room = is_new && self.repositories.len() < MOST_REPOSITORIES;
        match self.repositories.entry(key) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(new) => has_room.then(|| new.insert(RepositoryProgress::default())),
        }
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
    fn repositories_are_known_by_what_became_of_their_files() {
        let mut progress = Progress::default();
        let (project, repository) = ("p".to_owned(), "acme/docs".to_owned());
        let of = |path: &str| (project.clone(), repository.clone(), path.to_owned());
        progress.add(&Event::RepositoryPlanned {
            project: project.clone(),
            repository: repository.clone(),
            changes: 2,
            removals: 1,
        });
        let ((project, repository, path), chunks) = (of("a.md"), 1);
        progress.add(&Event::FileIndexed { project, repository, path, chunks });
        let key = ("p".to_owned(), "acme/docs".to_owned());
        let mut expected = RepositoryProgress { changes: 2, removals: 1, done: 1, failed: 0 };
        assert_eq!(progress.repositories[&key], expected);
        assert!(!expected.is_done());
        let (project, repository) = key.clone();
        let (path, error) = (Some("b.md".to_owned()), "it is too large".to_owned());
        progress.add(&Event::Failed { project, repository, path, error });
        expected.failed = 1;
        assert_eq!(progress.repositories[&key], expected);
        assert!(expected.is_done());
    }

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
