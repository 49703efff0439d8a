//! The end of the daemon.

use std::time::Duration;

use tokio::time::Instant;

use super::super::execute::{Ended, GRACE};
use super::super::pending::Pending;
use super::super::plans::reopen;
use super::super::systemd;
use super::Dispatcher;
use crate::model::Outcome;
use crate::sync::run_id;

impl Dispatcher {
    /// Stops accepting work and waits for the current batches, at most for the grace period.
    pub(super) async fn drain(mut self) {
        systemd::notify(systemd::ServiceState::Stopping);
        self.inbox.close();
        self.publish(true);
        let end = Instant::now() + GRACE + Duration::from_secs(5);
        while let Ok(Some(ended)) = tokio::time::timeout_at(end, self.runs.join_next()).await {
            self.ended_at_the_end(ended.ok());
            self.publish(true);
        }
        match self.peers.take() {
            // Queued runs are left to the next dispatcher.
            Some(peers) => peers.end().await,
            None => {
                for plan in self.projects.values().flat_map(|state| &state.approved) {
                    reopen(&*self.shared.state, plan).await;
                }
            }
        }
        if !self.runs.is_empty() {
            tracing::warn!(runs = self.runs.len(), "runs did not end in time; the next start continues them");
        }
    }

    fn ended_at_the_end(&mut self, ended: Option<Ended>) {
        if let Some(Ended { project: Some(name), report, .. }) = ended
            && let Some(state) = self.projects.get_mut(&name)
        {
            let now = (self.shared.now)();
            let stopped = report.as_ref().is_none_or(|report| report.outcome == Outcome::Interrupted);
            let request = state.active.as_ref().map(|active| active.request.clone());
            state.ended(report.as_ref(), now);
            // The next dispatcher continues it.
            if let Some(request) = request.filter(|request| stopped && request.plan.is_none())
                && self.peers.is_some()
            {
                let before = request.run.clone();
                let run = state.ask(Pending { run: run_id(now), ..request });
                self.shared.aliases.put(before, vec![run]);
            }
        }
    }
}
