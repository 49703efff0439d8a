//! The only owner of the projects' state. Its inputs are messages, timers and ended tasks; its
//! output is a snapshot ([`View`]).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::execute::{Ended, GRACE, Job, execute};
use super::generation::{Generation, Next, Refused};
use super::message::{Accepted, Cause, Message, Refusal, ReloadOutcome};
use super::pending::{Pending, Pushed, Trigger};
use super::plans::reopen;
use super::record::{Claim, DaemonRecord, Listening};
use super::reload::Reload;
use super::schedule::Schedule;
use super::shared::{Observed, Shared};
use super::state::{Active, ProjectState};
use super::swap::Swap;
use super::systemd;
use super::view::{RunState, View};
use crate::model::StageResult;
use crate::state::AuditEntry;
use crate::sync::run_id;

/// Upper bound for a sleep: the wall clock may be set, and the machine may be suspended, which
/// timers do not notice.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// How often a head that is still at the pre-push commit is checked again: after 1, 2, 4, … seconds.
const HEAD_RETRIES: u32 = 6;

/// The dispatcher.
pub(super) struct Dispatcher {
    shared: Arc<Shared>,
    generation: Arc<Generation>,
    projects: BTreeMap<String, ProjectState>,
    schedule: Schedule,
    /// Delayed run requests.
    later: Vec<(Instant, String, Pending)>,
    runs: JoinSet<Ended>,
    orphans: Orphans,
    reload: Reload,
    inbox: mpsc::Receiver<Message>,
    view: watch::Sender<Arc<View>>,
    files: watch::Sender<Vec<PathBuf>>,
    since: DateTime<Utc>,
    record: Option<(Claim, Listening)>,
}

/// Pending and active clean-up of orphans: projects in the ledger that the file no longer declares.
#[derive(Default)]
pub(super) struct Orphans {
    /// Starts once these projects have ended their next run: by then they have taken over the
    /// vectors they can reuse.
    pub(super) due: Option<(BTreeSet<String>, Pending)>,
    /// Running, with the projects that it treats as declared.
    pub(super) active: Option<(BTreeSet<String>, CancellationToken)>,
}

impl Dispatcher {
    pub(super) fn new(
        shared: Arc<Shared>,
        generation: Generation,
        inbox: mpsc::Receiver<Message>,
    ) -> (Self, watch::Receiver<Arc<View>>) {
        let generation = Arc::new(generation);
        let since = (shared.now)();
        let (view, reader) = watch::channel(Arc::new(View {
            generation: Arc::clone(&generation),
            since,
            refused: None,
            problems: Vec::new(),
            last_reload: None,
            restart: Vec::new(),
            stopping: false,
            projects: BTreeMap::new(),
            runs: BTreeMap::new(),
        }));
        let files = watch::channel(generation.files()).0;
        let mut dispatcher = Self {
            shared,
            generation,
            projects: BTreeMap::new(),
            schedule: Schedule::default(),
            later: Vec::new(),
            runs: JoinSet::new(),
            orphans: Orphans::default(),
            reload: Reload::default(),
            inbox,
            view,
            files,
            since,
            record: None,
        };
        dispatcher.take_up_projects();
        dispatcher.publish(false);
        (dispatcher, reader)
    }

    /// Writes the record next to the ledger that tells other processes of this daemon and of its
    /// address.
    pub(super) fn claim(&mut self, claim: Claim, api: Listening) -> StageResult<()> {
        let (claim, _) = self.record.insert((claim, api));
        claim.write(record(api, self.since, &self.generation, None, &self.schedule))
    }

    /// The files to watch, now and later.
    pub(super) fn watched(&self) -> watch::Receiver<Vec<PathBuf>> {
        self.files.subscribe()
    }

    /// Runs until the daemon is cancelled, then waits for the current batches.
    pub(super) async fn run(mut self) {
        let all: Vec<String> = self.generation.projects.keys().cloned().collect();
        let base = run_id((self.shared.now)());
        self.ask_all(&base, &all, Trigger::Start, |_| {});
        self.orphans_due(&base, Trigger::Start, all.into_iter().collect(), false);
        self.start_reload(Cause::Start, None);
        let cancel = self.shared.cancel.clone();
        let mut watchdog = systemd::Watchdog::start();
        while !cancel.is_cancelled() {
            self.publish(false);
            let next_tick = self.next_tick();
            tokio::select! {
                () = cancel.cancelled() => {}
                Some(message) = self.inbox.recv() => self.handle(message),
                Some(ended) = self.runs.join_next() => self.ended(ended.ok()),
                Some(built) = self.reload.building.join_next() => self.built(built.ok()),
                () = tokio::time::sleep_until(next_tick) => self.tick(),
                () = watchdog.due() => systemd::notify(systemd::ServiceState::Alive),
            }
        }
        self.drain().await;
    }

    fn start_reload(&mut self, cause: Cause, answer: Option<oneshot::Sender<ReloadOutcome>>) {
        self.reload.start(&self.generation, &self.shared.need, cause, answer);
    }

    /// Switches to the generation that was built, or reports why it was refused.
    fn built(&mut self, built: Option<Result<Next, Refused>>) {
        let mut reloaded = self.reload.built(built, (self.shared.now)());
        if let Some(next) = reloaded.next.take() {
            self.swap(next);
        }
        // Publish before replying, so that the caller sees the new state.
        self.publish(false);
        if reloaded.is_news {
            if reloaded.is_edit {
                self.audit("edit", "reload", Vec::new(), reloaded.outcome.outcome);
            }
            (self.shared.observer)(&Observed::Reload(reloaded.outcome.outcome));
        }
        if let Some(cause) = self.reload.reply(&reloaded) {
            self.start_reload(cause, None);
        }
    }

    /// Puts an entry into the audit log.
    fn audit(&self, who: &str, what: &str, projects: Vec<String>, outcome: &str) {
        let entry = AuditEntry {
            at: (self.shared.now)(),
            who: who.to_owned(),
            what: what.to_owned(),
            projects,
            outcome: outcome.to_owned(),
            address: None,
        };
        self.shared.audit.put(entry, self.generation.config.engine.history.0);
    }

    /// Switches generations. Runs of changed projects stop after the current batch and are planned
    /// again; other runs continue with the generation they started with.
    fn swap(&mut self, next: Next) {
        let Next { generation, diff, components } = next;
        let swap = Swap::of(&diff, components, &generation);
        self.generation = Arc::new(generation);
        self.take_up_projects();
        self.files.send_if_modified(|files| {
            let now = self.generation.files();
            let differs = *files != now;
            *files = now;
            differs
        });
        for name in swap.replanned.iter().chain(&swap.gone) {
            if let Some(active) = self.projects.get(name).and_then(|state| state.active.as_ref()) {
                active.cancel.cancel();
            }
        }
        for name in &swap.gone {
            if let Some(state) = self.projects.get_mut(name) {
                state.pending = None;
                state.approved.clear();
            }
            self.forget_removed(name);
        }
        // A project that was an orphan in the previous generation may be declared in this one.
        let stopped = self.orphans.active.as_ref().is_some_and(|(declared, cancel)| {
            let stops = !swap.allows_removal(declared);
            if stops {
                cancel.cancel();
            }
            stops
        });
        let base = run_id((self.shared.now)());
        self.ask_all(&base, &swap.replanned, Trigger::Edit, |_| {});
        if swap.orphans || stopped {
            let mut after: BTreeSet<String> = swap.replanned.into_iter().collect();
            // A removed project becomes an orphan only once its active run has ended.
            after.extend(swap.gone.into_iter().filter(|name| self.projects.contains_key(name)));
            self.orphans_due(&base, Trigger::Edit, after, false);
        }
    }

    /// Adds the enabled projects of the generation and their schedules.
    fn take_up_projects(&mut self) {
        for name in self.generation.projects.keys() {
            self.projects.entry(name.clone()).or_default();
        }
        self.schedule.take_up(&self.generation.config, (self.shared.now)());
    }

    /// Drops a project that the generation does not have, once its run has ended.
    fn forget_removed(&mut self, name: &str) {
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

    fn handle(&mut self, message: Message) {
        match message {
            Message::Sync { projects, full, allow_deletes, allow_cost, answer } => {
                let accepted = self.sync(projects, full, allow_deletes, allow_cost);
                // Publish before replying, so that the caller can look the run up.
                self.publish(false);
                // The run proceeds even if the caller has gone.
                drop(answer.send(accepted));
            }
            Message::Approved { project, plan, run, answer } => {
                let accepted = self.approved(&project, Pending::of_plan(run, plan));
                self.publish(false);
                // If the caller has gone, the run proceeds.
                drop(answer.send(accepted));
            }
            Message::Cancel { runs, answer } => {
                let mut cancelled = false;
                for state in self.projects.values_mut() {
                    cancelled |= state.cancel(&runs);
                }
                self.publish(false);
                // The runs are cancelled even if the caller has gone.
                if answer.send(cancelled).is_err() {
                    tracing::debug!("the caller has left");
                }
            }
            Message::Changed { projects, pushed } => {
                let base = run_id((self.shared.now)());
                self.ask_all(&base, &projects, Trigger::Push, |pending| pending.pushed.clone_from(&pushed));
            }
            Message::Reload { cause, answer } => self.start_reload(cause, answer),
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

    /// Queues a run of each of these projects. Returns by project the id of the run that will serve
    /// it.
    fn ask_all(
        &mut self,
        base: &str,
        names: &[String],
        trigger: Trigger,
        with: impl Fn(&mut Pending),
    ) -> Vec<(String, String)> {
        let mut runs = Vec::new();
        for name in names {
            let id = if names.len() == 1 { base.to_owned() } else { format!("{base}.{name}") };
            let mut pending = Pending { request: base.to_owned(), ..Pending::new(id, trigger) };
            with(&mut pending);
            if let Some(state) = self.projects.get_mut(name) {
                runs.push((name.clone(), state.ask(pending)));
                self.start_pending(name);
            }
        }
        runs
    }

    /// Schedules a clean-up of orphans for when these projects have run.
    fn orphans_due(&mut self, base: &str, trigger: Trigger, after: BTreeSet<String>, allow_deletes: bool) {
        let run = Pending::new(format!("{base}.orphans."), trigger);
        let asked = Pending { allow_deletes, request: base.to_owned(), ..run };
        match &mut self.orphans.due {
            Some((waiting, pending)) => {
                waiting.extend(after);
                pending.merge(asked);
            }
            due @ None => *due = Some((after, asked)),
        }
        self.start_orphans();
    }

    /// Starts the project's queued run unless another run blocks it.
    fn start_pending(&mut self, name: &str) {
        // A project that is being removed as an orphan must not be written to at the same time.
        if self.orphans.active.as_ref().is_some_and(|(declared, _)| !declared.contains(name)) {
            return;
        }
        let Some(candidate) = self.generation.candidate(name) else { return };
        let Some(state) = self.projects.get_mut(name) else { return };
        if state.active.is_some() {
            return;
        }
        let Some(request) = state.next() else { return };
        let cancel = self.shared.cancel.child_token();
        state.active = Some(Active {
            request: request.clone(),
            started_at: (self.shared.now)(),
            cancel: cancel.clone(),
        });
        state.view.retry_at = None;
        let generation = Arc::clone(&self.generation);
        self.spawn(Job { project: Some(candidate), request, generation, cancel });
    }

    fn start_orphans(&mut self) {
        let Some((waiting, _)) = &self.orphans.due else { return };
        if !waiting.is_empty() || self.orphans.active.is_some() {
            return;
        }
        let Some((_, request)) = self.orphans.due.take() else { return };
        let declared = self.generation.config.project_names().into_iter().collect();
        let cancel = self.shared.cancel.child_token();
        self.orphans.active = Some((declared, cancel.clone()));
        let generation = Arc::clone(&self.generation);
        self.spawn(Job { project: None, request, generation, cancel });
    }

    fn spawn(&mut self, job: Job) {
        self.runs.spawn(execute(Arc::clone(&self.shared), job));
    }

    fn ended(&mut self, ended: Option<Ended>) {
        let Some(Ended { project, report, stale }) = ended else { return };
        let Some(name) = project else {
            self.orphans.active = None;
            // The end of a run may unblock queued runs of other projects, and the clean-up of
            // orphans.
            let names: Vec<String> = self.projects.keys().cloned().collect();
            for name in names {
                self.start_pending(&name);
            }
            self.start_orphans();
            return;
        };
        if let Some(state) = self.projects.get_mut(&name) {
            if let (None, Some(active), Some(pending)) = (&report, &state.active, &state.pending)
                && active.request.plan.is_none()
            {
                // The run was stopped before it started, and the next one does its work.
                self.shared.aliases.put(active.request.run.clone(), vec![pending.run.clone()]);
            }
            state.ended(report.as_ref(), (self.shared.now)());
            let run = run_id((self.shared.now)());
            self.check_heads_later(&name, run, stale);
        }
        if let Some((waiting, _)) = &mut self.orphans.due {
            let again = self.projects.get(&name).is_some_and(|state| state.pending.is_some());
            if !again {
                waiting.remove(&name);
            }
        }
        self.forget_removed(&name);
        self.start_pending(&name);
        self.start_orphans();
    }

    /// Re-checks heads that are still at the pre-push commit, with exponential back-off.
    fn check_heads_later(&mut self, name: &str, run: String, stale: BTreeMap<String, Pushed>) {
        let stale: BTreeMap<_, _> =
            stale.into_iter().filter(|(_, push)| push.asked <= HEAD_RETRIES).collect();
        let Some(asked) = stale.values().map(|push| push.asked).max() else { return };
        let wait = Duration::from_secs(1 << asked.saturating_sub(1));
        let pending = Pending { pushed: stale, ..Pending::new(run, Trigger::Push) };
        self.later.push((Instant::now() + wait, name.to_owned(), pending));
    }

    fn next_tick(&self) -> Instant {
        let now = (self.shared.now)();
        let retries = self.projects.values().filter_map(|state| state.view.retry_at);
        let wait = self
            .schedule
            .first()
            .into_iter()
            .chain(retries)
            .map(|due| (due - now).to_std().unwrap_or_default())
            .min()
            .unwrap_or(LONGEST_SLEEP);
        let timers = self.later.iter().map(|(due, ..)| *due);
        let refused = self.reload.refused.iter().map(|(_, due)| *due);
        let first = timers.chain(refused).min().unwrap_or_else(|| Instant::now() + LONGEST_SLEEP);
        first.min(Instant::now() + wait.min(LONGEST_SLEEP))
    }

    fn tick(&mut self) {
        let now = (self.shared.now)();
        let due = self.schedule.due(now);
        if !due.is_empty() {
            self.audit("schedule", "run", due.clone(), "queued");
            self.ask_all(&run_id(now), &due, Trigger::Schedule, |_| {});
        }
        let retries: Vec<String> = self
            .projects
            .iter_mut()
            .filter(|(_, state)| state.view.retry_at.is_some_and(|due| due <= now))
            .map(|(name, state)| {
                state.view.retry_at = None;
                name.clone()
            })
            .collect();
        if !retries.is_empty() {
            self.ask_all(&run_id(now), &retries, Trigger::Retry, |_| {});
        }
        let later = std::mem::take(&mut self.later);
        for (due, name, pending) in later {
            if due > Instant::now() {
                self.later.push((due, name, pending));
            } else if let Some(state) = self.projects.get_mut(&name) {
                state.ask(pending);
                self.start_pending(&name);
            }
        }
        if self.reload.refused.as_ref().is_some_and(|(_, due)| *due <= Instant::now()) {
            self.start_reload(Cause::Retry, None);
        }
    }

    /// Stops accepting work and waits for the current batches, at most for the grace period.
    async fn drain(mut self) {
        systemd::notify(systemd::ServiceState::Stopping);
        self.inbox.close();
        self.publish(true);
        let end = Instant::now() + GRACE + Duration::from_secs(5);
        while let Ok(Some(ended)) = tokio::time::timeout_at(end, self.runs.join_next()).await {
            self.ended_at_the_end(ended.ok());
            self.publish(true);
        }
        for plan in self.projects.values().flat_map(|state| &state.approved) {
            reopen(&*self.shared.state, plan).await;
        }
        if !self.runs.is_empty() {
            tracing::warn!(runs = self.runs.len(), "runs did not end in time; the next start continues them");
        }
    }

    fn ended_at_the_end(&mut self, ended: Option<Ended>) {
        if let Some(Ended { project: Some(name), report, .. }) = ended
            && let Some(state) = self.projects.get_mut(&name)
        {
            state.ended(report.as_ref(), (self.shared.now)());
        }
    }

    /// Publishes a new snapshot.
    fn publish(&mut self, stopping: bool) {
        let mut runs = BTreeMap::new();
        let mut projects = BTreeMap::new();
        for (name, state) in &mut self.projects {
            state.view.next_run = self.schedule.next(name);
            let mut enter = |request: &Pending, started_at| {
                let run = RunState {
                    project: name.clone(),
                    request: request.request.clone(),
                    trigger: request.trigger,
                    started_at,
                };
                runs.insert(request.run.clone(), run);
                request.run.clone()
            };
            state.view.running =
                state.active.as_ref().map(|active| enter(&active.request, Some(active.started_at)));
            let queued: Vec<String> = state.queued().map(|request| enter(request, None)).collect();
            state.view.queued = queued.into_iter().next();
            if self.generation.projects.contains_key(name) {
                projects.insert(name.clone(), state.view.clone());
            }
        }
        // During shutdown queued runs never start.
        let none = BTreeMap::new();
        self.shared.feeds.show(if stopping { &none } else { &runs });
        let (refused, problems) = match &self.reload.refused {
            Some((refused, _)) => (Some(refused.message.clone()), refused.problems.clone()),
            None => (None, Vec::new()),
        };
        if let Some((claim, api)) = &mut self.record {
            let record = record(*api, self.since, &self.generation, refused.clone(), &self.schedule);
            if let Err(error) = claim.write(record) {
                tracing::warn!(error = %error.one_line(), "cannot write the daemon's record");
            }
        }
        self.view.send_replace(Arc::new(View {
            generation: Arc::clone(&self.generation),
            since: self.since,
            refused,
            problems,
            last_reload: self.reload.last.clone(),
            restart: self.reload.restart.clone(),
            stopping,
            projects,
            runs,
        }));
    }
}

fn record(
    api: Listening,
    since: DateTime<Utc>,
    generation: &Generation,
    refused: Option<String>,
    schedule: &Schedule,
) -> DaemonRecord {
    let next_runs =
        generation.projects.keys().filter_map(|name| Some((name.clone(), schedule.next(name)?))).collect();
    let (config, projects) = (generation.config.path.clone(), generation.config.declared());
    let (state, process) = (generation.config.engine.state.clone(), std::process::id());
    DaemonRecord { state, process, since, api, config, projects, refused, next_runs }
}
