//! From one generation to the next, once it stands whole: what is stopped, what is run, what
//! notices nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::dispatcher::Dispatcher;
use super::generation::Next;
use super::pending::Trigger;
use crate::apply::run_id;
use crate::config::ProjectChange;

impl Dispatcher {
    /// Swaps the generations. Runs of changed projects finish the batch in hand and are planned
    /// anew; those of the others go on with what they began with.
    pub(super) fn swap(&mut self, next: Next) {
        let Next { generation, diff, components } = next;
        self.generation = Arc::new(generation);
        self.take_up_projects();
        self.files.send_if_modified(|files| {
            let now = self.generation.files();
            let differs = *files != now;
            *files = now;
            differs
        });
        let mut replanned: Vec<String> = diff
            .projects
            .iter()
            .filter(|project| project.change.replans())
            .map(|project| project.name.clone())
            .collect();
        replanned.extend(components);
        replanned.retain(|name| self.generation.projects.contains_key(name));
        let gone = diff
            .projects
            .iter()
            .filter(|project| matches!(project.change, ProjectChange::Removed | ProjectChange::Disabled));
        let gone: Vec<String> = gone.map(|project| project.name.clone()).collect();
        for name in replanned.iter().chain(&gone) {
            if let Some(active) = self.projects.get(name).and_then(|state| state.active.as_ref()) {
                active.cancel.cancel();
            }
        }
        for name in &gone {
            if let Some(state) = self.projects.get_mut(name) {
                state.pending = None;
            }
            self.forget_removed(name);
        }
        // What another generation took for orphans may be declared now.
        let removing = self.orphans.active.as_ref().map(|(declared, cancel)| {
            let known = replanned.iter().all(|name| declared.contains(name));
            if !known {
                cancel.cancel();
            }
            !known
        });
        let base = run_id((self.shared.now)());
        self.ask_all(&base, &replanned, Trigger::Edit, |_| {});
        let removed = diff.projects.iter().any(|project| project.change == ProjectChange::Removed);
        if removed || removing == Some(true) || diff.live.contains(&"engine.prune") {
            let mut after: BTreeSet<String> = replanned.into_iter().collect();
            // A removed project that still runs is no orphan yet.
            after.extend(gone.into_iter().filter(|name| self.projects.contains_key(name)));
            self.orphans_due(&base, Trigger::Edit, after, false);
        }
    }

    /// Enters the enabled projects of the generation, and their schedules.
    pub(super) fn take_up_projects(&mut self) {
        for name in self.generation.projects.keys() {
            self.projects.entry(name.clone()).or_default();
        }
        self.schedule.take_up(&self.generation.config, (self.shared.now)());
    }

    /// Forgets a project that the generation does not have, once its run has ended.
    pub(super) fn forget_removed(&mut self, name: &str) {
        let running = self.projects.get(name).is_some_and(|state| state.active.is_some());
        if running {
            return;
        }
        if !self.generation.projects.contains_key(name) {
            self.projects.remove(name);
        }
        if let Some((waiting, _)) = &mut self.orphans.due
            && !self.projects.contains_key(name)
        {
            waiting.remove(name);
        }
    }
}
