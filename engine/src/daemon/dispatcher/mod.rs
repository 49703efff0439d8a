//! The only owner of the projects' state. Its inputs are messages, timers, ended tasks and news of other daemons; its
//! output is a snapshot ([`View`]). Of several daemons on one state, one starts runs; see `peers`.

mod drain;
mod lead;
mod requests;
mod standing;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::execute::{Ended, Job, execute};
use super::generation::{Generation, Next, Refused};
use super::message::{Cause, Message, ReloadOutcome};
use super::peers::{Peers, Shown};
use super::pending::{Pending, Pushed, Trigger};
use super::projects;
use super::record::{Claim, DaemonRecord, Listening};
use super::reload::Reload;
use super::schedule::Schedule;
use super::shared::{Observed, Shared};
use super::state::{Active, ProjectState};
use super::swap::Swap;
use super::systemd;
use super::view::{Role, View};
use crate::model::{StageError, StageResult};
use crate::state::AuditEntry;
use crate::sync::run_id;
use standing::Standing;

/// Upper bound for a sleep: the wall clock may be set, and the machine may be suspended, which
/// timers do not notice.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// How often a head that is still at the pre-push commit is checked again: after 1, 2, 4, … seconds.
const HEAD_RETRIES: u32 = 6;
/// How many aliases of run ids other daemons get.
const SHOWN_ALIASES: usize = 200;

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
    peers: Option<Peers>,
    standing: Standing,
    /// Why the daemon cannot go on: a newer program has changed the tables of the state.
    outdated: Option<StageError>,
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
            role: Role::Standby,
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
            peers: None,
            standing: Standing::default(),
            outdated: None,
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

    /// Runs until the daemon is cancelled or cannot go on, then waits for the current batches.
    pub(super) async fn run(mut self) -> StageResult<()> {
        self.peers = Peers::start(&self.shared);
        match &self.peers {
            Some(peers) => peers.adopt(&self.generation, false),
            None => self.begin_leading(Role::Alone, None),
        }
        self.start_reload(Cause::Start, None);
        let cancel = self.shared.cancel.clone();
        let mut watchdog = systemd::Watchdog::start();
        while !cancel.is_cancelled() {
            self.publish(false);
            let next_tick = self.next_tick();
            tokio::select! {
                () = cancel.cancelled() => {}
                Some(message) = self.inbox.recv() => self.handle(message),
                Some(news) = Peers::next(&mut self.peers) => self.learn(news),
                Some(ended) = self.runs.join_next() => self.ended(ended.ok()),
                Some(built) = self.reload.building.join_next() => self.built(built.ok()),
                () = tokio::time::sleep_until(next_tick) => self.tick(),
                () = watchdog.due() => systemd::notify(systemd::ServiceState::Alive),
            }
        }
        let outdated = self.outdated.take();
        self.drain().await;
        outdated.map_or(Ok(()), Err)
    }

    fn start_reload(&mut self, cause: Cause, answer: Option<oneshot::Sender<ReloadOutcome>>) {
        self.reload.start(&self.generation, &self.shared.need, cause, answer);
    }

    /// Switches to the generation that was built, or reports why it was refused.
    fn built(&mut self, built: Option<Result<Next, Refused>>) {
        let mut reloaded = self.reload.built(built, self.peers.is_some(), (self.shared.now)());
        if let Some(next) = reloaded.next.take() {
            self.swap(next);
        }
        if let Some(peers) = &self.peers {
            let insists = reloaded.is_asked_for() && reloaded.outcome.outcome != "refused";
            peers.adopt(&self.generation, insists);
        }
        // Publish before replying, so that the caller sees the new state.
        self.publish(false);
        if reloaded.is_news {
            if reloaded.is_edit {
                self.audit("edit", "reload", Vec::new(), reloaded.outcome.outcome);
            }
            (self.shared.observer)(&Observed::Reload(reloaded.outcome.outcome));
        }
        self.reply_to_reload(reloaded.outcome.clone());
        if let Some(cause) = self.reload.end(&reloaded) {
            self.start_reload(cause, None);
        }
    }

    /// Replies to those who wait for the outcome of a reload, with what workers say of the file.
    fn reply_to_reload(&mut self, outcome: ReloadOutcome) {
        let waiters = self.reload.take_waiters();
        let peers = self.peers.as_ref().filter(|_| self.leads() && outcome.outcome != "refused");
        let said = peers.map(|peers| peers.workers_say(&self.shared, self.generation.number));
        let reply = move |outcome: ReloadOutcome| {
            for waiter in waiters {
                // If the caller has gone, the file was reloaded all the same.
                drop(waiter.send(outcome.clone()));
            }
        };
        let Some(said) = said else { return reply(outcome) };
        tokio::spawn(async move {
            let said = said.await;
            let more = if said.is_empty() { said } else { format!("; {said}") };
            reply(ReloadOutcome { message: format!("{}{more}", outcome.message), ..outcome });
        });
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
        let Next { generation, diff, components, .. } = next;
        self.shared.state.set_leases(generation.config.workers);
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
        if !self.leads() {
            return;
        }
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
        if !self.leads() {
            return;
        }
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
        if !self.leads() || !waiting.is_empty() || self.orphans.active.is_some() {
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
        if !self.leads() {
            return;
        }
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
        let scheduled = self.schedule.first().filter(|_| self.leads());
        let wait = scheduled
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

    fn leads(&self) -> bool {
        self.standing.role != Role::Standby
    }

    fn tick(&mut self) {
        if self.leads() {
            self.start_due();
        }
        if self.reload.refused.as_ref().is_some_and(|(_, due)| *due <= Instant::now()) {
            self.start_reload(Cause::Retry, None);
        }
    }

    /// Starts the runs that are due.
    fn start_due(&mut self) {
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
    }

    /// Publishes a new snapshot.
    fn publish(&mut self, stopping: bool) {
        let (projects, runs) = if self.leads() {
            projects::show(&mut self.projects, &self.schedule, &self.generation)
        } else {
            self.standing.projects(&self.generation)
        };
        // During shutdown queued runs never start.
        let none = BTreeMap::new();
        let shown = if stopping { &none } else { &runs };
        if self.leads() {
            self.shared.feeds.show(shown);
        } else {
            self.shared.feeds.mirror(shown);
        }
        let (mut refused, problems) = match &self.reload.refused {
            Some((refused, _)) => (Some(refused.message.clone()), refused.problems.clone()),
            None => (None, Vec::new()),
        };
        refused = refused.or_else(|| self.standing.refused());
        if let Some((claim, api)) = &mut self.record {
            let record = record(*api, self.since, &self.generation, refused.clone(), &self.schedule);
            if let Err(error) = claim.write(record) {
                tracing::warn!(error = %error.one_line(), "cannot write the daemon's record");
            }
        }
        if let Some(peers) = self.peers.as_ref().filter(|_| self.leads()) {
            let work = projects::work(&self.projects, &self.later);
            let aliases = self.shared.aliases.newest(SHOWN_ALIASES);
            peers.show(Shown { projects: projects.clone(), runs: runs.clone(), work, aliases });
        }
        self.view.send_replace(Arc::new(View {
            generation: Arc::clone(&self.generation),
            since: self.since,
            refused,
            problems,
            role: self.standing.role,
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
