//! `reposync worker`: works on units of the runs of other processes. Needs no file: the configuration comes with the
//! units, as a generation; components come by their digests, secrets from the environment of this process.

mod generations;
mod options;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::factory;
use crate::model::{ErrorKind, StageResult, WorkerSettings};
use crate::state::{Queue, State, UnitClaim, Worker as Identity};
use crate::sync::Worker;

use generations::Generations;
pub use options::WorkerOptions;
use options::queue;

/// How often a worker says that it is there, and looks for a new configuration.
const ENTER: Duration = Duration::from_secs(10);
/// How often a worker looks for the first configuration.
const LOOK: Duration = Duration::from_secs(1);

/// Works until it is cancelled, or until a newer program has changed the tables.
pub async fn work(options: WorkerOptions, cancel: CancellationToken) -> StageResult<()> {
    let (state, _) = factory::open_for_service(&options.state).await?;
    let queue = queue(&*state)?;
    let defaults = WorkerSettings::default();
    let me = Identity::new(options.label.clone(), options.units.unwrap_or(defaults.units));
    queue.enter(&me).await?;
    tracing::info!(worker = me.label, state = options.state.shown(), "the worker waits for units");
    let generations =
        Arc::new(Generations::new(Arc::clone(&state), options.clone(), me.clone(), cancel.clone()));
    let Some(settings) = first_settings(&*state, &generations, &cancel).await? else {
        return queue.leave(&me.id).await;
    };
    let me = Identity { units: options.units.unwrap_or(settings.units), ..me };
    let worker = Worker {
        state: Arc::clone(&state),
        claim: UnitClaim::new(me.clone(), settings),
        poll: settings.poll,
        workshop: Arc::clone(&generations) as Arc<dyn crate::sync::Workshop>,
        cancel: cancel.clone(),
    };
    let over = cancel.child_token();
    let working = async {
        let worked = worker.run().await;
        over.cancel();
        worked
    };
    let (worked, ()) = tokio::join!(working, enter(&*state, &me, &generations, &over));
    worked?;
    queue.leave(&me.id).await
}

/// `[workers]` of the first configuration that there is; `None`: cancelled before.
async fn first_settings(
    state: &dyn State,
    generations: &Generations,
    cancel: &CancellationToken,
) -> StageResult<Option<WorkerSettings>> {
    let queue = queue(state)?;
    while !cancel.is_cancelled() {
        if let Some(number) = queue.newest_generation().await?
            && let Ok(settings) = generations.take_up(number).await
        {
            return Ok(Some(settings));
        }
        tokio::select! {
            () = cancel.cancelled() => {}
            () = tokio::time::sleep(LOOK) => generations.enter().await,
        }
    }
    Ok(None)
}

/// Says that the worker is there, and builds each new configuration before its units come.
async fn enter(state: &dyn State, me: &Identity, generations: &Generations, cancel: &CancellationToken) {
    let mut taken = None;
    let Ok(mut adoptions) = queue(state).map(Queue::adoptions) else { return };
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            Ok(()) = adoptions.changed() => {}
            () = tokio::time::sleep(ENTER) => {}
        }
        if let Err(error) = take_up_newest(state, me, generations, &mut taken).await {
            tracing::warn!(worker = me.label, error = %error.one_line(), "cannot look for a configuration");
        }
    }
}

/// `taken`: the newest configuration that was taken up or refused.
async fn take_up_newest(
    state: &dyn State,
    me: &Identity,
    generations: &Generations,
    taken: &mut Option<i64>,
) -> StageResult<()> {
    let queue = queue(state)?;
    queue.enter(me).await?;
    let newest = queue.newest_generation().await?;
    if let Some(number) = newest.filter(|_| newest != *taken) {
        match generations.take_up(number).await {
            // It is tried again.
            Err(error) if matches!(error.kind, ErrorKind::Transient { .. }) => return Err(error),
            // A refusal is recorded, and the units of the generation are left to others.
            Ok(_) | Err(_) => *taken = newest,
        }
    }
    Ok(())
}
