//! Requests: of the API of this daemon, and of other daemons.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::super::message::{Accepted, Answer, Cause, Message, Refusal, ReloadOutcome, Request};
use super::super::peers::forward;
use super::super::pending::{Pending, Trigger};
use super::Dispatcher;
use crate::sync::run_id;

impl Dispatcher {
    /// Answers a message, or has the dispatcher answer it.
    pub(super) fn handle(&mut self, message: Message) {
        match message {
            Message::Request { request, answer } if self.leads() => self.serve(request, answer),
            Message::Request { request, answer } => {
                let shared = Arc::clone(&self.shared);
                tokio::spawn(async move {
                    let answered = forward(&*shared.state, &request).await.unwrap_or_else(|error| {
                        tracing::warn!(error = %error.one_line(), "cannot pass a request on to the dispatcher");
                        Answer::Refused(Refusal::NoDispatcher)
                    });
                    // If the caller has gone, the request is carried out all the same.
                    drop(answer.send(answered));
                });
            }
            Message::Reload { cause, answer } => self.start_reload(cause, answer),
        }
    }

    /// Carries out a request.
    pub(super) fn serve(&mut self, request: Request, answer: oneshot::Sender<Answer>) {
        let answered = match request {
            Request::Sync { projects, full, allow_deletes, allow_cost } => {
                match self.sync(projects, full, allow_deletes, allow_cost) {
                    Ok(accepted) => Answer::Accepted(accepted),
                    Err(refusal) => Answer::Refused(refusal),
                }
            }
            Request::Approved { project, plan, run } => {
                match self.approved(&project, Pending::of_plan(run.clone(), plan)) {
                    Ok(()) => Answer::Accepted(Accepted { runs: [(project, run.clone())].into(), run }),
                    Err(refusal) => Answer::Refused(refusal),
                }
            }
            Request::Cancel { runs } => {
                let mut cancelled = false;
                for state in self.projects.values_mut() {
                    cancelled |= state.cancel(&runs);
                }
                Answer::Cancelled(cancelled)
            }
            Request::Changed { projects, pushed } => {
                let base = run_id((self.shared.now)());
                self.ask_all(&base, &projects, Trigger::Push, |pending| pending.pushed.clone_from(&pushed));
                Answer::Done
            }
            Request::Reload => {
                let (reloaded, outcome) = oneshot::channel();
                self.start_reload(Cause::Api, Some(reloaded));
                tokio::spawn(async move {
                    let Ok(ReloadOutcome { outcome, message, .. }) = outcome.await else { return };
                    // If the caller has gone, the file was reloaded all the same.
                    drop(answer.send(Answer::Reloaded { refused: outcome == "refused", message }));
                });
                return;
            }
        };
        // Publish before replying, so that the caller can look the run up.
        self.publish(false);
        match &self.peers {
            Some(peers) => peers.reply(answered, answer),
            // The run proceeds even if the caller has gone.
            None => drop(answer.send(answered)),
        }
    }

    fn sync(
        &mut self,
        projects: Option<Vec<String>>,
        full: bool,
        allow_deletes: bool,
        allow_cost: bool,
    ) -> Result<Accepted, Refusal> {
        let of_all = projects.is_none();
        let names = projects.unwrap_or_else(|| self.generation.projects.keys().cloned().collect());
        if let Some(name) = names.iter().find(|name| !self.generation.projects.contains_key(*name)) {
            return Err(match self.generation.config.project(name) {
                Some(_) => Refusal::Disabled(name.clone()),
                None => Refusal::NoProject(name.clone()),
            });
        }
        let base = run_id((self.shared.now)());
        let runs = self.ask_all(&base, &names, Trigger::Api, |pending| {
            pending.full = full;
            pending.allow_deletes = allow_deletes;
            pending.allow_cost = allow_cost;
        });
        if of_all {
            self.orphans_due(&base, Trigger::Api, names.into_iter().collect(), allow_deletes);
        }
        let run = if let [(_, run)] = runs.as_slice() {
            run.clone()
        } else {
            let parts = runs.iter().map(|(_, run)| run.clone()).collect();
            self.shared.aliases.put(base.clone(), parts);
            base
        };
        Ok(Accepted { run, runs: runs.into_iter().collect() })
    }

    /// Queues the run of an approved plan.
    fn approved(&mut self, name: &str, request: Pending) -> Result<(), Refusal> {
        let state = self.projects.get_mut(name).filter(|_| self.generation.projects.contains_key(name));
        state.ok_or_else(|| Refusal::NoProject(name.to_owned()))?.approved.push_back(request);
        self.start_pending(name);
        Ok(())
    }
}
