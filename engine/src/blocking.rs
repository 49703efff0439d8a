//! `spawn_blocking` with a concurrency limit per kind of work. Callers wait without a thread, so
//! that the number of threads does not grow with projects and no kind of work can starve another.
//!
//! Work in a pool must not wait for work in any pool: threads are limited too, so it could
//! deadlock.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::available_parallelism;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};

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
///
/// A thread runs one job after the other while any waits: waking a thread for each costs more than a short job takes. It
/// belongs to the runtime of one of the callers, so `work` must not use the runtime that it is on.
#[derive(Clone)]
pub(crate) struct BlockingPool(Arc<Shared>);

struct Shared {
    /// Maximum number of threads.
    width: usize,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Threads running or being started.
    threads: usize,
}

struct Waiting {
    job: Box<dyn Job>,
    /// The caller's.
    runtime: Handle,
}

/// Work with its caller.
trait Job: Send {
    /// False if the caller has stopped waiting.
    fn is_wanted(&self) -> bool;
    fn run(self: Box<Self>);
}

struct Call<T, F> {
    work: F,
    answer: oneshot::Sender<Result<T, BlockingError>>,
}

impl<T: Send, F: FnOnce() -> T + Send> Job for Call<T, F> {
    fn is_wanted(&self) -> bool {
        !self.answer.is_closed()
    }

    fn run(self: Box<Self>) {
        let Self { work, answer } = *self;
        let result =
            catch_unwind(AssertUnwindSafe(work)).map_err(|payload| BlockingError::panicked(&*payload));
        // An error means that the caller has stopped waiting.
        drop(answer.send(result));
    }
}

/// Blocking work did not end.
#[derive(Debug)]
pub(crate) enum BlockingError {
    /// It panicked with this message.
    Panicked(String),
    /// It was not started, because the runtime ended.
    Ended,
}

impl BlockingError {
    fn panicked(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let message = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self::Panicked(message.unwrap_or("without a message").to_owned())
    }
}

impl fmt::Display for BlockingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(message) => write!(f, "panicked: {message}"),
            Self::Ended => f.write_str("not started: the runtime ended"),
        }
    }
}

impl std::error::Error for BlockingError {}

impl fmt::Debug for BlockingPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingPool").field("width", &self.0.width).finish_non_exhaustive()
    }
}

impl BlockingPool {
    /// A pool for `width` concurrent jobs.
    pub(crate) fn of(width: usize) -> Self {
        Self(Arc::new(Shared { width, queue: Mutex::default() }))
    }

    /// A pool for CPU-bound work. More jobs than cores would only use memory, each for an arena of
    /// the allocator.
    pub(crate) fn of_cores() -> Self {
        Self::of(available_parallelism().map_or(2, NonZero::get))
    }

    /// Runs `work` on a blocking thread once it is its turn. Dropping the future while it waits cancels the call, and
    /// `work` is dropped when its turn comes; work that has started runs to its end and counts towards the limit.
    pub(crate) async fn run<T, F>(&self, work: F) -> Result<T, BlockingError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.start(Waiting { job: Box::new(Call { work, answer }), runtime: Handle::current() });
        answered.await.unwrap_or(Err(BlockingError::Ended))
    }

    fn start(&self, job: Waiting) {
        {
            let mut queue = self.0.queue.lock();
            if queue.threads == self.0.width {
                queue.waiting.push_back(job);
                return;
            }
            queue.threads += 1;
        }
        Thread::start(Arc::clone(&self.0), job);
    }
}

/// A thread, or one that is being started; `None` once it is no longer counted.
struct Thread(Option<Arc<Shared>>);

impl Thread {
    fn start(shared: Arc<Shared>, Waiting { job, runtime }: Waiting) {
        let mut thread = Self(Some(shared));
        runtime.spawn_blocking(move || {
            let mut next = Some(job);
            while let Some(job) = next {
                if job.is_wanted() {
                    // Panics of the work itself are caught by the job; this is for those of its destructors.
                    drop(catch_unwind(AssertUnwindSafe(|| job.run())));
                }
                next = thread.next();
            }
        });
    }

    /// The next job. If there is none, the thread no longer counts.
    fn next(&mut self) -> Option<Box<dyn Job>> {
        let shared = self.0.as_ref()?;
        let mut queue = shared.queue.lock();
        let next = queue.waiting.pop_front();
        if next.is_none() {
            queue.threads -= 1;
            drop(queue);
            self.0 = None;
        }
        next.map(|waiting| waiting.job)
    }
}

impl Drop for Thread {
    /// A thread whose runtime ended before it was started leaves its place to a job that is still waited for.
    fn drop(&mut self) {
        let Some(shared) = self.0.take() else { return };
        let mut unwanted = Vec::new();
        let next = {
            let mut queue = shared.queue.lock();
            loop {
                match queue.waiting.pop_front() {
                    Some(waiting) if !waiting.job.is_wanted() => unwanted.push(waiting),
                    Some(waiting) => break Some(waiting),
                    None => {
                        queue.threads -= 1;
                        break None;
                    }
                }
            }
        };
        if let Some(next) = next {
            Self::start(shared, next);
        }
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
    async fn a_panic_is_returned_and_frees_its_place() {
        let pool = BlockingPool::of(1);
        let error = pool.run(|| panic!("of the test")).await.expect_err("it panicked");
        assert_eq!(error.to_string(), "panicked: of the test");
        assert_eq!(pool.run(|| 1).await.expect("free"), 1);
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_any_more_is_not_started() {
        let pool = BlockingPool::of(1);
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let first = tokio::spawn({
            let pool = pool.clone();
            async move { pool.run(move || gate.recv()).await }
        });
        let started = Arc::new(AtomicUsize::new(0));
        let mut second = Box::pin({
            let started = Arc::clone(&started);
            pool.run(move || started.fetch_add(1, Ordering::SeqCst))
        });
        tokio::task::yield_now().await;
        assert!(futures::poll!(&mut second).is_pending());
        drop(second);
        open.send(()).expect("the first waits");
        first.await.expect("no panic").expect("no panic").expect("the gate was opened");
        assert_eq!(pool.run(|| 1).await.expect("free"), 1);
        assert_eq!(started.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_runtime_that_ends_takes_no_place_with_it() {
        let pool = BlockingPool::of(1);
        let one_thread = || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.max_blocking_threads(1).build().expect("a runtime")
        };
        let (ends, stays) = (one_thread(), one_thread());
        let (open, gate) = std::sync::mpsc::channel::<()>();
        ends.spawn_blocking(move || gate.recv());
        // Its thread is counted, but cannot start; the other runtime's job waits behind it.
        let never = ends.spawn({
            let pool = pool.clone();
            async move { pool.run(|| ()).await }
        });
        ends.block_on(tokio::task::yield_now());
        let waits = stays.spawn({
            let pool = pool.clone();
            async move { pool.run(|| 1).await }
        });
        stays.block_on(tokio::task::yield_now());
        ends.shutdown_background();
        drop((open, never));
        assert_eq!(stays.block_on(waits).expect("no panic").expect("started"), 1);
        assert_eq!(stays.block_on(pool.run(|| 2)).expect("free"), 2);
    }
}
