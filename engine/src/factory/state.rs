//! Opens the state and the vector cache that a configuration names. The only place that names their
//! implementations.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{CachePlace, Config, PostgresState as Database, StatePlace};
use crate::model::{ByteSize, ErrorKind, StageError, StageResult, WorkerSettings};
use crate::state::postgres::{PostgresState, PostgresVectorCache};
use crate::state::sqlite::{RunLock, SqliteState, SqliteVectorCache};
use crate::state::{Copyable, Held, Lease, STAGE, State, VectorCache};

/// A copy leaves nothing out.
const UNBOUNDED: ByteSize = ByteSize::mib(1 << 30);

/// The pause between two requests for a lease that somebody else has.
const PAUSE: Duration = Duration::from_secs(2);

/// Opens the state for one writing run of this process, with a lease on all projects. `wait`: waits for another
/// run to end instead of failing. `leases`: how long leases last, where they have to be renewed.
pub async fn open_for_run(
    place: &StatePlace,
    wait: bool,
    leases: WorkerSettings,
) -> StageResult<(Arc<dyn State>, Lease)> {
    match place {
        StatePlace::File(path) => {
            let path = path.clone();
            off_executor(move || {
                let lock = if wait { Ok(RunLock::take(&path)?) } else { RunLock::try_take(&path)? };
                let (state, lease) = SqliteState::open_locked(&path, lock.map_err(Held)?)?;
                Ok((Arc::new(state) as Arc<dyn State>, lease))
            })
            .await
        }
        StatePlace::Postgres(database) => {
            let state: Arc<dyn State> =
                Arc::new(PostgresState::open(&database.url, connections(database)).await?);
            state.set_leases(leases);
            loop {
                match state.lease(&[]).await? {
                    Ok(lease) => return Ok((state, lease)),
                    Err(held) if !wait => return Err(held.into()),
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
        }
    }
}

/// Opens the state for a process that runs and reads side by side: the state for runs, and one for reading
/// that does not wait for the transactions of runs.
pub async fn open_for_service(place: &StatePlace) -> StageResult<(Arc<dyn State>, Arc<dyn State>)> {
    match place {
        StatePlace::File(path) => {
            let path = path.clone();
            off_executor(move || {
                let state: Arc<dyn State> = Arc::new(SqliteState::open(&path)?);
                let reader: Arc<dyn State> = Arc::new(SqliteState::open_read_only(&path)?);
                Ok((state, reader))
            })
            .await
        }
        StatePlace::Postgres(database) => {
            let state: Arc<dyn State> =
                Arc::new(PostgresState::open(&database.url, connections(database)).await?);
            Ok((Arc::clone(&state), state))
        }
    }
}

/// Opens the state for reading; an empty one if there is none yet.
pub async fn open_for_reading(place: &StatePlace) -> StageResult<Arc<dyn State>> {
    match place {
        StatePlace::File(path) => {
            let path = path.clone();
            off_executor(move || Ok(Arc::new(SqliteState::open_read_only(&path)?) as Arc<dyn State>)).await
        }
        StatePlace::Postgres(database) => {
            Ok(match PostgresState::open_to_read(&database.url, connections(database)).await? {
                Some(state) => Arc::new(state),
                None => Arc::new(SqliteState::in_memory()?),
            })
        }
    }
}

/// Opens a state and its vector cache for a copy, with a lease on all projects, so that nothing else writes. The cache
/// of a file is in the same folder.
pub async fn open_for_copy(place: &StatePlace) -> StageResult<(Copyable, Lease)> {
    match place {
        StatePlace::File(path) => {
            let path = path.clone();
            off_executor(move || {
                let lock = RunLock::try_take(&path)?.map_err(Held)?;
                let (ledger, lease) = SqliteState::open_locked(&path, lock)?;
                let folder = path.parent().unwrap_or(Path::new("."));
                let vectors = SqliteVectorCache::open(folder, UNBOUNDED);
                Ok((Copyable { ledger: Arc::new(ledger), vectors: Arc::new(vectors) }, lease))
            })
            .await
        }
        StatePlace::Postgres(database) => {
            let ledger = PostgresState::open(&database.url, connections(database)).await?;
            let lease = ledger.lease(&[]).await??;
            let vectors = PostgresVectorCache::new(&database.url, 1, UNBOUNDED)
                .map_err(|failure| StageError::local(STAGE, failure.to_string()))?;
            Ok((Copyable { ledger: Arc::new(ledger), vectors: Arc::new(vectors) }, lease))
        }
    }
}

/// The vector cache, which is opened on first use.
pub(super) fn open_cache(config: &Config) -> Arc<dyn VectorCache> {
    let engine = &config.engine;
    if let (StatePlace::Postgres(database), CachePlace::State) = (&engine.state, engine.vector_cache) {
        match PostgresVectorCache::new(&database.url, database.pool / 2, engine.cache_size) {
            Ok(cache) => return Arc::new(cache),
            Err(failure) => tracing::warn!(%failure, "the vector cache of this machine is used instead"),
        }
    }
    Arc::new(SqliteVectorCache::open(&engine.cache, engine.cache_size))
}

/// The connections of the state; the vector cache has the others.
fn connections(database: &Database) -> usize {
    database.pool - database.pool / 2
}

async fn off_executor<T: Send + 'static>(
    work: impl FnOnce() -> StageResult<T> + Send + 'static,
) -> StageResult<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        StageError::new(STAGE, ErrorKind::Bug, "opening the state panicked").caused_by(error)
    })?
}
