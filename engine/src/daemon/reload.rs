//! Taking up the file: why, and what came of it.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::dispatcher::Dispatcher;
use super::generation::{Next, Refused};
use super::view::LastReload;
use super::{Observed, systemd};
use crate::config::{Problem, ProjectChange};

/// A refused file is tried again this often: what it names may appear where nobody watches.
const REFUSED_AGAIN: Duration = Duration::from_secs(5);

/// Why the file is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The daemon started: the file may have been saved since it was read.
    Start,
    /// The file or a component was saved.
    Files,
    /// SIGHUP.
    Signal,
    /// `POST /reload`, which `reposync reload` sends.
    Api,
    /// What was refused may have been mended where nobody watches.
    Retry,
}

impl Cause {
    /// True where somebody did something and wants to see what came of it.
    pub(super) fn is_asked_for(self) -> bool {
        !matches!(self, Self::Start | Self::Retry)
    }
}

/// What came of a reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReloadOutcome {
    /// `applied`, `unchanged` or `refused`.
    pub outcome: &'static str,
    /// In one line.
    pub message: String,
    /// What is wrong with the file, where it was refused for that.
    pub problems: Vec<Problem>,
    /// Keys that only a restart takes up.
    pub restart: Vec<&'static str>,
}

impl ReloadOutcome {
    pub(super) fn refused(refused: &Refused) -> Self {
        Self {
            outcome: "refused",
            message: refused.message.clone(),
            problems: refused.problems.clone(),
            restart: Vec::new(),
        }
    }

    /// What a generation that was built will do.
    pub(super) fn of(next: &Next) -> Self {
        let restart = next.diff.restart.clone();
        let mut parts = Vec::new();
        for project in &next.diff.projects {
            let what = match &project.change {
                ProjectChange::Added => "added".to_owned(),
                ProjectChange::Removed => "removed from the file".to_owned(),
                ProjectChange::Enabled => "enabled".to_owned(),
                ProjectChange::Disabled => "disabled".to_owned(),
                change @ ProjectChange::Changed(parts) => {
                    let parts: Vec<String> =
                        parts.iter().map(|part| format!("{part:?}").to_lowercase()).collect();
                    let how = if change.replans() { "planned anew" } else { "taken up" };
                    format!("{how} ({})", parts.join(", "))
                }
            };
            parts.push(format!("`{}` {what}", project.name));
        }
        parts.extend(next.components.iter().map(|name| format!("`{name}` planned anew (component)")));
        parts.extend(next.diff.live.iter().map(|key| format!("`{key}` taken up")));
        let outcome =
            if parts.is_empty() && next.diff.rebuilt_stages.is_empty() { "unchanged" } else { "applied" };
        if !restart.is_empty() {
            let verb = if restart.len() == 1 { "needs" } else { "need" };
            parts.push(format!("`{}` {verb} a restart", restart.join("`, `")));
        }
        if parts.is_empty() {
            parts.push("nothing differs".to_owned());
        }
        Self { outcome, message: parts.join("; "), problems: Vec::new(), restart }
    }
}

/// The reload under way, and what the file on disk came to.
#[derive(Default)]
pub(super) struct Reload {
    pub(super) building: JoinSet<Result<Next, Refused>>,
    cause: Option<Cause>,
    waiters: Vec<oneshot::Sender<ReloadOutcome>>,
    /// Asked for while one was being built: the newest file wins.
    again: Option<(Cause, Vec<oneshot::Sender<ReloadOutcome>>)>,
    /// What came of the last one that is worth telling.
    pub(super) last: Option<LastReload>,
    /// Why the file on disk is refused, and when it is tried again.
    pub(super) refused: Option<(Refused, Instant)>,
}

impl Dispatcher {
    /// Builds what would follow, or does so again after the one that is being built: the newest file
    /// wins.
    pub(super) fn start_reload(&mut self, cause: Cause, answer: Option<oneshot::Sender<ReloadOutcome>>) {
        if self.reload.cause.is_some() {
            let (again, waiters) = self.reload.again.get_or_insert_with(|| (cause, Vec::new()));
            if cause.is_asked_for() {
                *again = cause;
            }
            waiters.extend(answer);
            return;
        }
        self.reload.cause = Some(cause);
        self.reload.waiters.extend(answer);
        if let Some((_, due)) = &mut self.reload.refused {
            *due = Instant::now() + REFUSED_AGAIN;
        }
        if cause.is_asked_for() {
            systemd::notify("RELOADING=1");
        }
        let (generation, need) = (Arc::clone(&self.generation), self.shared.need.clone());
        self.reload.building.spawn_blocking(move || generation.next(&need));
    }

    /// Takes up what was built, or refuses it.
    pub(super) fn built(&mut self, built: Option<Result<Next, Refused>>) {
        let cause = self.reload.cause.take().unwrap_or(Cause::Retry);
        let built = built.unwrap_or_else(|| {
            let message = "building the next generation panicked".to_owned();
            Err(Refused { message, problems: Vec::new() })
        });
        let news = cause.is_asked_for();
        let (outcome, tell) = match built {
            Err(refused) => {
                let outcome = ReloadOutcome::refused(&refused);
                let known = self.reload.refused.as_ref().is_some_and(|(before, _)| *before == refused);
                let tell = news || !known;
                if tell {
                    tracing::error!(problem = %refused.message, "the file is refused; the running configuration stays");
                }
                self.reload.refused = Some((refused, Instant::now() + REFUSED_AGAIN));
                (outcome, tell)
            }
            Ok(next) => {
                let outcome = ReloadOutcome::of(&next);
                let mended = self.reload.refused.take().is_some();
                let tell = news || mended || outcome.outcome == "applied";
                if tell {
                    tracing::info!(outcome = outcome.outcome, changes = %outcome.message, "the file was read again");
                }
                if !outcome.restart.is_empty() && outcome.restart != self.restart {
                    tracing::warn!(keys = ?outcome.restart, "only a restart takes these up");
                }
                self.restart.clone_from(&outcome.restart);
                if outcome.outcome == "applied" {
                    self.swap(next);
                }
                (outcome, tell)
            }
        };
        if tell {
            let message = outcome.message.clone();
            self.reload.last =
                Some(LastReload { at: (self.shared.now)(), outcome: outcome.outcome, message });
        }
        // Who hears of it must find what it tells of.
        self.publish(false);
        if tell {
            (self.shared.observer)(&Observed::Reload(outcome.outcome));
        }
        if news {
            systemd::notify("READY=1");
        }
        for waiter in self.reload.waiters.drain(..) {
            drop(waiter.send(outcome.clone()));
        }
        if let Some((cause, waiters)) = self.reload.again.take() {
            self.reload.waiters = waiters;
            self.start_reload(cause, None);
        }
    }
}
