//! A running component: a store, the calls into it, and their limits.

use std::time::Duration;

use wasmtime::Store;

use super::bindings::exports::reposync::chunker::chunker::{Guest, PluginInfo};
use super::bindings::reposync::chunker::types::{Chunk, ChunkError, Diagnostic, Document};
use super::bindings::{ChunkerPlugin, ChunkerPluginPre};
use super::fault::{Bounds, Fault};
use super::limits::{Limits, START_DEADLINE};
use super::said::SaidLine;
use super::sandbox::State;
use super::ticker::{Ticker, ticks};
use crate::chunk::Tokens;

/// Maximum size in bytes of a description or a list of diagnostics.
const START_OUTPUT: usize = 1 << 20;

/// Fuel per millisecond of deadline, in deterministic mode: about the number of instructions that
/// native code executes in that time.
const FUEL_PER_MILLISECOND: u64 = 1_000_000;

/// How calls are limited: by wall time or by instructions.
#[derive(Clone, Copy)]
pub(super) struct Watch<'a> {
    pub(super) clock: &'a Ticker,
    /// Deadline of every call except `split`.
    pub(super) start: Duration,
    /// Limit by fuel instead of wall time.
    pub(super) fuel: bool,
}

impl Watch<'_> {
    /// Default deadline of every call except `split`.
    pub(super) const START: Duration = START_DEADLINE;
}

/// A running component. After a [`Fault`] it must be dropped.
pub(super) struct Instance {
    store: Store<State>,
    guest: ChunkerPlugin,
    /// Fuel at the start of the last call.
    fuel: u64,
}

/// Result of `configure`: warnings, or the errors for which the component refuses the
/// configuration.
pub(super) type Configured = Result<Vec<Diagnostic>, Vec<Diagnostic>>;

impl Instance {
    /// Starts a component.
    pub(super) fn start(
        pre: &ChunkerPluginPre<State>,
        limits: &Limits,
        tokens: &Tokens,
        watch: Watch<'_>,
    ) -> Result<Self, Fault> {
        let mut store = Store::new(pre.engine(), State::new(limits.memory, tokens.clone()));
        store.limiter(|state| &mut state.limiter);
        let bounds = Bounds { deadline: watch.start, memory: limits.memory, output: START_OUTPUT };
        let guest = bounded(&mut store, watch, bounds, |store| pre.instantiate(store))?;
        Ok(Self { store, guest, fuel: 0 })
    }

    pub(super) fn describe(&mut self, limits: &Limits, watch: Watch<'_>) -> Result<PluginInfo, Fault> {
        let bounds = Bounds { deadline: watch.start, memory: limits.memory, output: START_OUTPUT };
        self.call(watch, bounds, |guest, store| guest.call_describe(store))
    }

    pub(super) fn configure(
        &mut self,
        config_json: &str,
        limits: &Limits,
        watch: Watch<'_>,
    ) -> Result<Configured, Fault> {
        let bounds = Bounds { deadline: watch.start, memory: limits.memory, output: START_OUTPUT };
        self.call(watch, bounds, |guest, store| guest.call_configure(store, config_json))
    }

    pub(super) fn split(
        &mut self,
        document: Document<'_>,
        limits: &Limits,
        watch: Watch<'_>,
    ) -> Result<Result<Vec<Chunk>, ChunkError>, Fault> {
        self.store.data_mut().clear_output();
        let bounds = Bounds {
            deadline: limits.deadline(document.text.len()),
            memory: limits.memory,
            output: limits.output,
        };
        self.fuel = fuel(bounds.deadline);
        self.call(watch, bounds, |guest, store| guest.call_split(store, document))
    }

    /// Output of the component since its start, or for its last document.
    pub(super) fn said(&self) -> Vec<SaidLine> {
        self.store.data().lines()
    }

    /// Memory and tables in use, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.store.data().limiter.used()
    }

    /// Instructions executed by the last call; `None` if the host does not count them.
    pub(super) fn fuel_used(&self) -> Option<u64> {
        self.store.get_fuel().ok().map(|left| self.fuel.saturating_sub(left))
    }

    fn call<T>(
        &mut self,
        watch: Watch<'_>,
        bounds: Bounds,
        call: impl FnOnce(&Guest, &mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T, Fault> {
        let guest = self.guest.reposync_chunker_chunker();
        bounded(&mut self.store, watch, bounds, |store| call(guest, store))
    }
}

fn fuel(deadline: Duration) -> u64 {
    u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX).saturating_mul(FUEL_PER_MILLISECOND)
}

fn bounded<T>(
    store: &mut Store<State>,
    watch: Watch<'_>,
    bounds: Bounds,
    call: impl FnOnce(&mut Store<State>) -> wasmtime::Result<T>,
) -> Result<T, Fault> {
    store.set_hostcall_fuel(bounds.output);
    if watch.fuel {
        store.set_fuel(fuel(bounds.deadline)).expect("fuel is enabled in deterministic mode");
    } else {
        store.set_epoch_deadline(ticks(bounds.deadline));
    }
    let _running = watch.clock.running();
    call(store).map_err(|error| Fault::of(&error, store.data(), &bounds))
}
