//! Reloading the file: which generation is being built, why, who waits for it, and what came of it.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::generation::{Generation, Next, Refused};
use super::message::{Cause, ReloadOutcome};
use super::systemd;
use super::view::LastReload;
use crate::config::{Need, ProjectChange};

/// How often a refused file is read again: a file that it names may appear where nothing is watched.
const RETRY_REFUSED: Duration = Duration::from_secs(5);

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

/// The reload under way, and the result of the last one.
#[derive(Default)]
pub(super) struct Reload {
    pub(super) building: JoinSet<Result<Next, Refused>>,
    cause: Option<Cause>,
    waiters: Vec<oneshot::Sender<ReloadOutcome>>,
    /// Requested while a generation was being built: the file may have changed since that was read.
    again: Option<(Cause, Vec<oneshot::Sender<ReloadOutcome>>)>,
    /// The last result worth showing.
    pub(super) last: Option<LastReload>,
    /// Why the file on disk is refused, and when it is read again.
    pub(super) refused: Option<(Refused, Instant)>,
    /// Keys of the file that only a restart takes up.
    pub(super) restart: Vec<&'static str>,
}

/// A reload that has ended, for the dispatcher to act on.
pub(super) struct Reloaded {
    /// The generation to swap to, where it differs.
    pub(super) next: Option<Next>,
    pub(super) outcome: ReloadOutcome,
    /// True where the result is news to observers.
    pub(super) is_news: bool,
    /// True where systemd was told that a reload began.
    asked_for: bool,
}

impl Reload {
    /// Builds the next generation. While one is being built, another is built after it.
    pub(super) fn start(
        &mut self,
        generation: &Arc<Generation>,
        need: &Need,
        cause: Cause,
        answer: Option<oneshot::Sender<ReloadOutcome>>,
    ) {
        if self.cause.is_some() {
            let (again, waiters) = self.again.get_or_insert_with(|| (cause, Vec::new()));
            if cause.is_asked_for() {
                *again = cause;
            }
            waiters.extend(answer);
            return;
        }
        self.cause = Some(cause);
        self.waiters.extend(answer);
        if let Some((_, due)) = &mut self.refused {
            *due = Instant::now() + RETRY_REFUSED;
        }
        if cause.is_asked_for() {
            systemd::notify("RELOADING=1");
        }
        let (generation, need) = (Arc::clone(generation), need.clone());
        self.building.spawn_blocking(move || generation.next(&need));
    }

    /// Takes what was built; `None`: building panicked.
    pub(super) fn built(&mut self, built: Option<Result<Next, Refused>>, now: DateTime<Utc>) -> Reloaded {
        let cause = self.cause.take().unwrap_or(Cause::Retry);
        let built = built.unwrap_or_else(|| {
            let message = "building the next generation panicked".to_owned();
            Err(Refused { message, problems: Vec::new() })
        });
        let asked_for = cause.is_asked_for();
        let (next, outcome, is_news) = match built {
            Err(refused) => {
                let outcome = ReloadOutcome::refused(&refused);
                let known = self.refused.as_ref().is_some_and(|(before, _)| *before == refused);
                let is_news = asked_for || !known;
                if is_news {
                    tracing::error!(problem = %refused.message, "the file is refused; the running configuration stays");
                }
                self.refused = Some((refused, Instant::now() + RETRY_REFUSED));
                (None, outcome, is_news)
            }
            Ok(next) => {
                let outcome = ReloadOutcome::of(&next);
                let was_refused = self.refused.take().is_some();
                let applied = outcome.outcome == "applied";
                let is_news = asked_for || was_refused || applied;
                if is_news {
                    tracing::info!(outcome = outcome.outcome, changes = %outcome.message, "the file was read again");
                }
                if !outcome.restart.is_empty() && outcome.restart != self.restart {
                    tracing::warn!(keys = ?outcome.restart, "only a restart takes these up");
                }
                self.restart.clone_from(&outcome.restart);
                (applied.then_some(next), outcome, is_news)
            }
        };
        if is_news {
            let message = outcome.message.clone();
            self.last = Some(LastReload { at: now, outcome: outcome.outcome, message });
        }
        Reloaded { next, outcome, is_news, asked_for }
    }

    /// Replies to those who wait. `Some`: the file is to be read again, for this cause.
    pub(super) fn reply(&mut self, reloaded: &Reloaded) -> Option<Cause> {
        if reloaded.asked_for {
            systemd::notify("READY=1");
        }
        for waiter in self.waiters.drain(..) {
            drop(waiter.send(reloaded.outcome.clone()));
        }
        let (cause, waiters) = self.again.take()?;
        self.waiters = waiters;
        Some(cause)
    }
}
