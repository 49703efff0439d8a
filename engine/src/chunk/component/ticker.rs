//! The clock behind deadlines: a thread that moves the engine's epoch while a component runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmtime::Engine;

use super::limits::TICK;

/// Ticks without any call after which the thread sleeps until it is woken: a second.
const IDLE_TICKS: u32 = 100;

/// Moves the epoch of one engine; ends when dropped.
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

    /// Keeps the clock going until the guard is dropped.
    pub(super) fn running(&self) -> Running<'_> {
        self.shared.calls.fetch_add(1, SeqCst);
        // Sequential consistency: either the thread sees the call, or we see that it sleeps.
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

/// A call in progress.
pub(super) struct Running<'a> {
    shared: &'a Shared,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.shared.calls.fetch_sub(1, SeqCst);
    }
}

/// How many ticks a duration takes; one more, because the first may come at once.
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
