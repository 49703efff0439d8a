//! Opens the state and the vector cache that a configuration names. The only place that names their
//! implementation.

use std::path::Path;
use std::sync::Arc;

use crate::config::Config;
use crate::model::{ErrorKind, StageError, StageResult};
use crate::state::sqlite::{RunLock, SqliteState, SqliteVectorCache};
use crate::state::{Held, Lease, STAGE, State, VectorCache};

/// Opens the state for one writing run of this process, with a lease on all projects. `wait`: waits for another
/// run to end instead of failing.
pub async fn open_for_run(path: &Path, wait: bool) -> StageResult<(Arc<dyn State>, Lease)> {
    let path = path.to_owned();
    off_executor(move || {
        let lock = if wait { Ok(RunLock::take(&path)?) } else { RunLock::try_take(&path)? };
        let (state, lease) = SqliteState::open_locked(&path, lock.map_err(Held)?)?;
        Ok((Arc::new(state) as Arc<dyn State>, lease))
    })
    .await
}

/// Opens the state for a process that runs and reads side by side: the state for runs, and one for reading
/// that does not wait for the transactions of runs. Blocks.
pub fn open_for_service(path: &Path) -> StageResult<(Arc<dyn State>, Arc<dyn State>)> {
    let state: Arc<dyn State> = Arc::new(SqliteState::open(path)?);
    let reader = Arc::new(SqliteState::open_read_only(path)?);
    Ok((state, reader))
}

/// Opens the state for reading; an empty one if there is none yet.
pub async fn open_for_reading(path: &Path) -> StageResult<Arc<dyn State>> {
    let path = path.to_owned();
    off_executor(move || Ok(Arc::new(SqliteState::open_read_only(&path)?) as Arc<dyn State>)).await
}

/// The vector cache, which is opened on first use.
pub(super) fn open_cache(config: &Config) -> Arc<dyn VectorCache> {
    Arc::new(SqliteVectorCache::open(&config.engine.cache, config.engine.cache_size))
}

async fn off_executor<T: Send + 'static>(
    work: impl FnOnce() -> StageResult<T> + Send + 'static,
) -> StageResult<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        StageError::new(STAGE, ErrorKind::Bug, "opening the state panicked").caused_by(error)
    })?
}
