//! How a daemon becomes the dispatcher, and how it ends to be it.

use tokio::sync::oneshot;

use super::super::peers::{News, Shown};
use super::super::pending::Trigger;
use super::super::projects;
use super::super::schedule::Schedule;
use super::super::state::ProjectState;
use super::super::view::Role;
use super::Dispatcher;
use super::standing::Standing;
use crate::sync::run_id;

impl Dispatcher {
    /// Acts on news of other daemons.
    pub(super) fn learn(&mut self, news: News) {
        match news {
            News::Leads(shown) => self.begin_leading(Role::Dispatcher, shown),
            News::Follows { shown, older_than } => {
                if self.leads() {
                    self.stop_leading();
                }
                let shown = shown.unwrap_or_default();
                self.shared.aliases.take_up(shown.aliases.clone());
                self.standing = Standing { role: Role::Standby, older_than, shown };
            }
            News::Outdated(error) => {
                if self.leads() {
                    self.stop_leading();
                }
                self.outdated = Some(error);
                self.shared.cancel.cancel();
            }
            News::Asked(id, request) => {
                let (answer, answered) = oneshot::channel();
                if let Some(peers) = &self.peers {
                    peers.answer(id, answered);
                }
                // Without the lease, the request is left to the daemon that has it.
                if self.leads() {
                    self.serve(request, answer);
                }
            }
        }
    }

    /// Starts runs from now on: of what the dispatcher before was asked for, and of every project once, which covers what
    /// was missed.
    pub(super) fn begin_leading(&mut self, role: Role, shown: Option<Shown>) {
        self.standing = Standing { role, ..Standing::default() };
        let now = (self.shared.now)();
        self.schedule = Schedule::default();
        self.schedule.take_up(&self.generation.config, now);
        if let Some(shown) = shown {
            projects::take_over(&mut self.projects, shown, &self.shared.aliases, now);
        }
        let all: Vec<String> = self.generation.projects.keys().cloned().collect();
        let base = run_id(now);
        self.ask_all(&base, &all, Trigger::Start, |_| {});
        self.orphans_due(&base, Trigger::Start, all.into_iter().collect(), false);
    }

    /// Ends all runs, since another daemon may start them.
    fn stop_leading(&mut self) {
        self.projects.values_mut().for_each(ProjectState::give_up);
        if let Some((_, cancel)) = &self.orphans.active {
            cancel.cancel();
        }
        self.orphans.due = None;
        self.later.clear();
    }
}
