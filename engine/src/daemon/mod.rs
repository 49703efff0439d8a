//! The daemon keeps indexes in sync with the configuration: on a schedule, on a push, on request,
//! and when the file itself is edited.
//!
//! One task, the dispatcher, owns the state of all projects. Timers, the file watcher, signals and
//! the API send it messages; readers get a snapshot ([`View`]). The daemon uses stages only through
//! `factory` and `sync` and does not depend on HTTP: the API is built on its [`Handle`].

mod alias;
mod audit;
mod behind;
mod dispatcher;
mod execute;
mod feed;
mod freshness;
mod gate;
mod generation;
mod handle;
mod lag;
mod message;
mod peers;
mod pending;
mod plans;
mod progress;
mod projects;
mod record;
mod reload;
mod runs;
mod schedule;
mod shared;
mod shutdown;
mod sign_ins;
mod state;
mod swap;
mod systemd;
mod token;
mod tokens;
mod view;
mod watch;

use std::sync::Arc;

use chrono::Utc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::Waits;
use crate::config::{Config, Need, StatePlace};
use crate::factory::{self, StageFactory};
use crate::model::{ErrorKind, EventSink, StageError, StageResult, host_name};
use crate::state::State;

use alias::Aliases;
use audit::{AuditLog, AuditQueue};
use dispatcher::Dispatcher;
use feed::Feeds;
use gate::Gate;
use generation::Generation;
use lag::LagTracker;
use record::Claim;
use shared::Shared;

pub use crate::config::{Problem, TokenDigest, token_digest};
pub use crate::config::{Webhook, WebhookEvent, webhooks};
pub use crate::plan::{Action, FilePlan, Plan, ProjectPlan, RepositoryPlan};
pub use crate::state::{AuditEntry, AuditQuery, AuditRow, RunQuery, RunStatus, TRIGGERS};
pub use feed::{Feed, FeedItem};
pub use handle::Handle;
pub use message::{Accepted, Cause, Refusal, ReloadOutcome};
pub use pending::Trigger;
pub use plans::Approved;
pub use progress::{PhaseProgress, Progress, RepositoryProgress};
pub use record::{DaemonRecord, Listening};
pub use runs::{RunPage, RunView};
pub use shared::{Observed, Observer};
pub use sign_ins::{LINK_LIFE, SESSION_LIFE, Session};
pub use token::ApiToken;
pub use tokens::{Grant, Tokens};
pub use view::{LastReload, ProjectView, Role, RunState, View};

/// Capacity of the dispatcher's inbox. Senders wait while it is full.
const INBOX: usize = 1024;

/// A daemon with its first generation, not yet started.
pub struct Daemon {
    claim: Claim,
    dispatcher: Dispatcher,
    handle: Handle,
    audit: AuditQueue,
    cancel: CancellationToken,
}

impl Daemon {
    /// Opens the ledger, claims it for this daemon and builds the stages. A project whose stages
    /// cannot be built does not keep the daemon from starting: its runs fail and report why.
    pub async fn open(
        config: Config,
        need: Need,
        observer: Observer,
        cancel: CancellationToken,
    ) -> StageResult<Self> {
        let (audit_log, audit) = audit::queue();
        let states = factory::open_for_service(&config.engine.state).await?;
        states.0.set_leases(config.workers);
        let (shared, claim, generation) = tokio::task::spawn_blocking({
            let cancel = cancel.clone();
            move || open(config, states, need, observer, audit_log, cancel)
        })
        .await
        .map_err(|error| StageError::new("daemon", ErrorKind::Bug, "cannot start").caused_by(error))??;
        let shared = Arc::new(shared);
        let (sender, inbox) = mpsc::channel(INBOX);
        let (dispatcher, view) = Dispatcher::new(Arc::clone(&shared), generation, inbox);
        let handle = Handle::new(shared, sender, view);
        Ok(Self { claim, dispatcher, handle, audit, cancel })
    }

    /// The handle that the API is built on.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Starts the daemon. `api` is the address of the API. The task ends once `cancel` is cancelled
    /// and the current batches are finished; with an error if a newer program has changed the tables of the state.
    pub fn start(self, api: Listening) -> StageResult<JoinHandle<StageResult<()>>> {
        let Self { claim, mut dispatcher, handle, audit, cancel } = self;
        dispatcher.claim(claim, api)?;
        let files = dispatcher.watched();
        let hangups = shutdown::hangups()?;
        Ok(tokio::spawn(async move {
            let watching = watch::watch(files, handle.clone(), cancel.clone());
            let counting = behind::count(handle.clone(), cancel.clone());
            let sampling = freshness::sample(handle.clone(), cancel.clone());
            let state = Arc::clone(&handle.shared.state);
            let auditing = audit.write(&*state, &cancel);
            let signals = shutdown::forward_hangups(hangups, handle, cancel.clone());
            let work = async {
                systemd::notify(systemd::ServiceState::Ready);
                dispatcher.run().await
            };
            // The other tasks end with the token; only the dispatcher has work to finish.
            let (worked, ..) = tokio::join!(work, watching, counting, sampling, auditing, signals);
            worked
        }))
    }
}

/// Has the dispatcher of a state reload its file, wherever it runs. Returns whether it was refused, and the result in one
/// line; `None`: no daemon answers.
pub async fn reload_dispatcher(place: &StatePlace) -> StageResult<Option<(bool, String)>> {
    let state = factory::open_for_reading(place).await?;
    Ok(match peers::forward(&*state, &message::Request::Reload).await? {
        message::Answer::Reloaded { refused, message } => Some((refused, message)),
        _ => None,
    })
}

fn open(
    config: Config,
    (state, reader): (Arc<dyn State>, Arc<dyn State>),
    need: Need,
    observer: Observer,
    audit: AuditLog,
    cancel: CancellationToken,
) -> StageResult<(Shared, Claim, Generation)> {
    let claim = Claim::take(&config.engine.state)?;
    let tokens = Tokens::of(ApiToken::of(&config)?, &config);
    let (feeds, waits) = (Feeds::default(), Waits::new(&config.engine.state));
    let events = {
        let (observer, feeds, waits) = (Arc::clone(&observer), feeds.clone(), waits.clone());
        EventSink::new(move |event| {
            observer(&Observed::Event(&event));
            waits.see(&event);
            feeds.shared(&event);
        })
    };
    let factory = StageFactory::new(cancel.clone(), events).with_allowances(state.allowances());
    let shared = Shared {
        need,
        now: Utc::now,
        gate: Gate::new(Arc::clone(&state)),
        state,
        reader,
        feeds,
        waits,
        observer,
        lagging: LagTracker::default(),
        aliases: Aliases::default(),
        audit,
        me: crate::state::Daemon::new(host_name()),
        cancel,
    };
    factory::clear_leftovers(&config);
    let generation = Generation::first(config, tokens, factory);
    if let Err(error) = generation.app(&shared.state, CancellationToken::new()).clear_plans() {
        tracing::warn!(%error, "cannot delete the files of plans that a killed daemon left behind");
    }
    Ok((shared, claim, generation))
}

#[cfg(test)]
mod tests;
