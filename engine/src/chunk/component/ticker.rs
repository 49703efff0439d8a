//! The clock behind deadlines: a thread that increments the engine's epoch while a component runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmtime::Engine;

use super::limits::TICK;

/// Number of ticks (one second) without a call after which the thread parks.
const IDLE_TICKS: u32 = 100;

/// Increments the epoch of one engine; the thread ends on drop.
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    calls: AtomicUsize,
    asleep: AtomicBool,
    ended: AtomicBool,
}

impl Ticker {
    pub(super) fn start(engine: Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = thread::Builder::new().name("component-clock".into()).spawn({
            let shared = Arc::clone(&shared);
            move || run(&engine, &shared)
        })?;
        Ok(Self { shared, thread })
    }

    /// Keeps the clock running until the guard is dropped.
    pub(super) fn running(&self) -> Running<'_> {
        self.shared.calls.fetch_add(1, SeqCst);
        // Sequentially consistent: either the thread sees this call, or this call sees that it is
        // parked.
        if self.shared.asleep.load(SeqCst) {
            self.thread.thread().unpark();
        }
        Running { shared: &self.shared }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.ended.store(true, SeqCst);
        self.thread.thread().unpark();
    }
}

/// Guard of a call in progress.
pub(super) struct Running<'a> {
    shared: &'a Shared,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.shared.calls.fetch_sub(1, SeqCst);
    }
}

/// Number of ticks for a duration, plus one, because the first tick may come immediately.
pub(super) fn ticks(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u64::MAX).saturating_add(1)
}

fn run(engine: &Engine, shared: &Shared) {
    let mut idle = 0;
    while !shared.ended.load(SeqCst) {
        idle = if shared.calls.load(SeqCst) == 0 { idle + 1 } else { 0 };
        if idle > IDLE_TICKS {
            shared.asleep.store(true, SeqCst);
            while shared.calls.load(SeqCst) == 0 && !shared.ended.load(SeqCst) {
                thread::park();
            }
            shared.asleep.store(false, SeqCst);
            idle = 0;
        }
        thread::sleep(TICK);
        engine.increment_epoch();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_never_takes_fewer_ticks_than_it_lasts() {
        assert_eq!(ticks(Duration::ZERO), 1);
        assert_eq!(ticks(Duration::from_millis(10)), 2);
        assert_eq!(ticks(Duration::from_millis(11)), 3);
    }
}
