//! Reloads of the file: the generation being built, the callers that wait for it, and the last
//! result.

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

/// Interval at which a refused file is read again: a file that it names may appear in a folder that
/// is not watched.
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

    /// Describes what switching to this generation changes.
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
                    let how = if change.replans() { "planned again" } else { "updated" };
                    format!("{how} ({})", parts.join(", "))
                }
            };
            parts.push(format!("`{}` {what}", project.name));
        }
        parts.extend(next.components.iter().map(|name| format!("`{name}` planned again (component)")));
        parts.extend(next.diff.live.iter().map(|key| format!("`{key}` updated")));
        let outcome =
            if parts.is_empty() && next.diff.rebuilt_stages.is_empty() { "unchanged" } else { "applied" };
        if !restart.is_empty() {
            let verb = if restart.len() == 1 { "needs" } else { "need" };
            parts.push(format!("`{}` {verb} a restart", restart.join("`, `")));
        }
        if parts.is_empty() {
            parts.push("nothing changed".to_owned());
        }
        Self { outcome, message: parts.join("; "), problems: Vec::new(), restart }
    }
}

/// The reload in progress, and the result of the last one.
#[derive(Default)]
pub(super) struct Reload {
    pub(super) building: JoinSet<Result<Next, Refused>>,
    cause: Option<Cause>,
    waiters: Vec<oneshot::Sender<ReloadOutcome>>,
    /// A reload requested while one was in progress. The file is read again, since it may have
    /// changed in between.
    again: Option<(Cause, Vec<oneshot::Sender<ReloadOutcome>>)>,
    /// The last result that was requested, changed something or was a refusal.
    pub(super) last: Option<LastReload>,
    /// Why the file on disk was refused, and when it is read again.
    pub(super) refused: Option<(Refused, Instant)>,
    /// Keys that differ in the file but take effect only after a restart.
    pub(super) restart: Vec<&'static str>,
}

/// A finished reload, for the dispatcher to act on.
pub(super) struct Reloaded {
    /// The generation to switch to; `None` if nothing changed or the file was refused.
    pub(super) next: Option<Next>,
    pub(super) outcome: ReloadOutcome,
    /// True if observers should be notified of the result.
    pub(super) is_news: bool,
    /// True if the file or a component was saved.
    pub(super) is_edit: bool,
    /// True if systemd was notified of the start of the reload.
    asked_for: bool,
}

impl Reloaded {
    /// True if somebody saved the file or requested the reload.
    pub(super) fn is_asked_for(&self) -> bool {
        self.asked_for
    }
}

impl Reload {
    /// Starts to build the next generation. If one is being built, another is built after it.
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
            systemd::notify(systemd::ServiceState::Reloading);
        }
        let (generation, need) = (Arc::clone(generation), need.clone());
        self.building.spawn_blocking(move || generation.next(&need));
    }

    /// Handles the end of a build; `None`: the build panicked. `is_shared`: workers elsewhere read the same text, each with
    /// variables of its own.
    pub(super) fn built(
        &mut self,
        built: Option<Result<Next, Refused>>,
        is_shared: bool,
        now: DateTime<Utc>,
    ) -> Reloaded {
        let cause = self.cause.take().unwrap_or(Cause::Retry);
        let built = built.unwrap_or_else(|| {
            let message = "building the next generation panicked".to_owned();
            Err(Refused { message, problems: Vec::new() })
        });
        let (asked_for, is_edit) = (cause.is_asked_for(), cause == Cause::Files);
        let (next, outcome, is_news) = match built {
            Err(refused) => {
                let outcome = ReloadOutcome::refused(&refused);
                let known = self.refused.as_ref().is_some_and(|(before, _)| *before == refused);
                let is_news = asked_for || !known;
                if is_news {
                    tracing::error!(problem = %refused.message, "reload refused; the running configuration is kept");
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
                    tracing::info!(outcome = outcome.outcome, changes = %outcome.message, "reloaded");
                }
                if !outcome.restart.is_empty() && outcome.restart != self.restart {
                    tracing::warn!(keys = ?outcome.restart, "these keys take effect only after a restart");
                }
                self.restart.clone_from(&outcome.restart);
                let is_taken = applied || is_shared && next.is_rewritten;
                (is_taken.then_some(next), outcome, is_news)
            }
        };
        if is_news {
            let message = outcome.message.clone();
            self.last = Some(LastReload { at: now, outcome: outcome.outcome, message });
        }
        Reloaded { next, outcome, is_news, is_edit, asked_for }
    }

    /// The callers that wait for the outcome.
    pub(super) fn take_waiters(&mut self) -> Vec<oneshot::Sender<ReloadOutcome>> {
        std::mem::take(&mut self.waiters)
    }

    /// Ends a reload. `Some`: another one was requested meanwhile, for this cause.
    pub(super) fn end(&mut self, reloaded: &Reloaded) -> Option<Cause> {
        if reloaded.asked_for {
            systemd::notify(systemd::ServiceState::Ready);
        }
        let (cause, waiters) = self.again.take()?;
        self.waiters = waiters;
        Some(cause)
    }
}
