//! `spawn_blocking` with a concurrency limit per kind of work. Callers wait for a permit without a
//! thread, so that the number of threads does not grow with projects and no kind of work can starve
//! another.
//!
//! Work in a pool must not wait for work in any pool: threads are limited too, so it could
//! deadlock.

use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::sync::Semaphore;
use tokio::task::{JoinError, spawn_blocking};

/// What all stages and runs of an engine share: the limits of blocking work. Two engines in one process
/// have one each. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// Selecting and chunking files: CPU-bound.
    pub(crate) cores: BlockingPool,
    /// Reading local repositories and clones. Above the number of cores, because a disk answers many reads at
    /// once, and above what one project uses (four repositories with two readers each), so that one slow disk
    /// does not stop the others.
    pub(crate) reading: BlockingPool,
    /// Inflating and hashing received packs: CPU-bound.
    pub(crate) indexing: BlockingPool,
    /// Archives that are unpacked at once. Each has a thread, however long its contents are waited for or wait
    /// to be taken: half of the threads that block (`cli/context.rs`) are left to work that ends by itself.
    pub(crate) unpacking: Arc<Semaphore>,
}

impl Default for Runtime {
    fn default() -> Self {
        Self {
            cores: BlockingPool::of_cores(),
            reading: BlockingPool::of(16),
            indexing: BlockingPool::of_cores(),
            unpacking: Arc::new(Semaphore::new(96)),
        }
    }
}

/// A kind of blocking work with a concurrency limit. Callers are served in order of arrival.
#[derive(Debug, Clone)]
pub(crate) struct BlockingPool(Arc<Semaphore>);

impl BlockingPool {
    /// A pool for `width` concurrent tasks.
    pub(crate) fn of(width: usize) -> Self {
        Self(Arc::new(Semaphore::new(width)))
    }

    /// A pool for CPU-bound work. More tasks than cores would only use memory, each for an arena of
    /// the allocator.
    pub(crate) fn of_cores() -> Self {
        Self::of(available_parallelism().map_or(2, NonZero::get))
    }

    /// Runs `work` on a blocking thread once a permit is free. Dropping the future while it waits
    /// cancels the call; work that has started runs to its end and keeps its permit. The error is a
    /// panic of `work`.
    pub(crate) async fn run<T, F>(&self, work: F) -> Result<T, JoinError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let turn = Arc::clone(&self.0).acquire_owned().await.expect("a pool is never closed");
        spawn_blocking(move || {
            let _turn = turn;
            work()
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn the_limit_holds_and_no_task_is_lost() {
        let pool = Arc::new(BlockingPool::of(3));
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..100 {
            let (pool, now, most) = (Arc::clone(&pool), Arc::clone(&now), Arc::clone(&most));
            tasks.spawn(async move {
                pool.run(move || {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    now.fetch_sub(1, Ordering::SeqCst);
                    n
                })
                .await
            });
        }
        let mut done: Vec<usize> = tasks.join_all().await.into_iter().map(Result::unwrap).collect();
        done.sort_unstable();
        assert_eq!(done, (0..100).collect::<Vec<_>>());
        assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
    }

    #[tokio::test]
    async fn a_panic_is_returned_and_frees_its_permit() {
        let pool = BlockingPool::of(1);
        assert!(pool.run(|| panic!("of the test")).await.expect_err("it panicked").is_panic());
        assert_eq!(pool.run(|| 1).await.expect("free"), 1);
    }
}
