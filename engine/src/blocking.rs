//! Blocking work: of each kind so many at once. The others wait without a thread, so that threads
//! do not grow with projects, and no kind of work, however much of it there is, keeps the rest waiting.
//!
//! Work in a lane must not wait for work in a lane, its own or another: threads are bounded, too.

use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::sync::Semaphore;
use tokio::task::{JoinError, spawn_blocking};

/// A kind of blocking work, by how many of it may be done at once. Who came first is served first.
#[derive(Debug)]
pub(crate) struct Lane(Arc<Semaphore>);

impl Lane {
    /// For so many at once.
    pub(crate) fn of(width: usize) -> Self {
        Self(Arc::new(Semaphore::new(width)))
    }

    /// For work that computes: more of it at once than there are cores would only hold memory, each
    /// an arena of the allocator's.
    pub(crate) fn of_cores() -> Self {
        Self::of(available_parallelism().map_or(2, NonZero::get))
    }

    /// Does the work on a blocking thread when its turn has come. A caller that leaves gives up its
    /// place; work that has begun goes on, and keeps its place to its end. The error is a panic of
    /// the work's.
    pub(crate) async fn run<T, F>(&self, work: F) -> Result<T, JoinError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let turn = Arc::clone(&self.0).acquire_owned().await.expect("a lane is never closed");
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
    async fn so_many_at_once_and_none_is_lost() {
        let lane = Arc::new(Lane::of(3));
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..100 {
            let (lane, now, most) = (Arc::clone(&lane), Arc::clone(&now), Arc::clone(&most));
            tasks.spawn(async move {
                lane.run(move || {
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
    async fn a_panic_is_told_and_its_place_is_free_again() {
        let lane = Lane::of(1);
        assert!(lane.run(|| panic!("of the test")).await.expect_err("it panicked").is_panic());
        assert_eq!(lane.run(|| 1).await.expect("free"), 1);
    }
}
