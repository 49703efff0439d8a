//! What a component can access: a log, counts of tokens, and stubs of WASI (no files, no environment, no sockets, no
//! time, fixed randomness) for toolchains that always link it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use wasmtime::component::{HasData, HasSelf, Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::p2::{DynPollable, OutputStream, Pollable, StreamResult, subscribe};
use wasmtime_wasi::{Deterministic, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView};

use super::bindings::ChunkerPlugin;
use super::bindings::reposync::chunker::{host, log, types};
use super::limits::{Limiter, MAX_LOG};
use super::said::{Said, SaidLine, printable};
use crate::chunk::Tokens;

/// Maximum number of WASI handles; a component needs a few for its streams.
const MAX_HANDLES: usize = 256;

/// The host state of a component's store.
pub(super) struct State {
    pub(super) limiter: Limiter,
    pub(super) said: Said,
    tokens: Tokens,
    stderr: Stderr,
    wasi: WasiCtx,
    table: ResourceTable,
}

impl State {
    pub(super) fn new(memory: usize, tokens: Tokens) -> Self {
        let stderr = Stderr::default();
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        // Fixed seeds, so that results are the same on every machine.
        let seed = || Deterministic::new(vec![0x52, 0x65, 0x70, 0x6f, 0x53, 0x79, 0x6e, 0x63]);
        let wasi = WasiCtx::builder()
            .stderr(stderr.clone())
            .stdout(stderr.clone())
            .secure_random(seed())
            .insecure_random(seed())
            .insecure_random_seed(0)
            .wall_clock(FrozenClock)
            .monotonic_clock(FrozenClock)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        Self { limiter: Limiter::new(memory), said: Said::default(), tokens, stderr, wasi, table }
    }

    /// Discards the output for the previous document.
    pub(super) fn clear_output(&mut self) {
        self.said.clear();
        self.stderr.lock().clear();
    }

    /// The component's output since the last [`Self::clear_output`].
    pub(super) fn lines(&self) -> Vec<SaidLine> {
        self.said.lines(&printable(&self.stderr()))
    }

    /// The tail of standard error and standard output.
    pub(super) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock()).into_owned()
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl types::Host for State {}

impl host::Host for State {
    fn max_tokens(&mut self) -> Option<u32> {
        self.tokens.most
    }

    fn count_tokens(&mut self, text: String) -> u32 {
        u32::try_from((self.tokens.counter)(&text)).unwrap_or(u32::MAX)
    }
}

impl log::Host for State {
    fn write(&mut self, level: log::Level, message: String) {
        self.said.log(level, &message);
    }
}

/// Adds everything that a component may import to the linker.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    ChunkerPlugin::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    wasmtime_wasi::p2::add_to_linker_sync(linker)?;
    // WASI's own timers sleep in the host, where the deadline does not interrupt them.
    linker.allow_shadowing(true);
    monotonic_clock::add_to_linker::<_, NoTimers>(linker, |state: &mut State| {
        NoTimersView(&mut state.table)
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The time of all clocks. Not zero, because Go's runtime takes zero for a broken clock and refuses
/// to start.
const NOW: u64 = 1;

/// A clock that stands still: the chunks of a document must not depend on the date.
struct FrozenClock;

impl HostWallClock for FrozenClock {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        Duration::from_secs(NOW)
    }
}

impl HostMonotonicClock for FrozenClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        NOW
    }
}

struct NoTimers;

impl HasData for NoTimers {
    type Data<'a> = NoTimersView<'a>;
}

/// A monotonic clock whose timers have always elapsed.
struct NoTimersView<'a>(&'a mut ResourceTable);

impl NoTimersView<'_> {
    fn elapsed_timer(&mut self) -> wasmtime::Result<Resource<DynPollable>> {
        let timer = self.0.push(Elapsed)?;
        subscribe(self.0, timer)
    }
}

impl monotonic_clock::Host for NoTimersView<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(NOW)
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(1)
    }

    fn subscribe_instant(&mut self, _: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.elapsed_timer()
    }

    fn subscribe_duration(&mut self, _: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.elapsed_timer()
    }
}

struct Elapsed;

#[wasmtime_wasi::async_trait]
impl Pollable for Elapsed {
    async fn ready(&mut self) {}
}

/// Keeps the last bytes written, because a panic message or traceback ends with the reason.
#[derive(Clone, Default)]
struct Stderr(Arc<Mutex<Vec<u8>>>);

impl Stderr {
    fn lock(&self) -> parking_lot::MutexGuard<'_, Vec<u8>> {
        self.0.lock()
    }

    fn keep(&self, bytes: &[u8]) {
        let mut kept = self.lock();
        kept.extend_from_slice(&bytes[bytes.len().saturating_sub(MAX_LOG)..]);
        // Truncate only now and then, so that a flood of output takes linear time.
        if kept.len() > 2 * MAX_LOG {
            let surplus = kept.len() - MAX_LOG;
            kept.drain(..surplus);
        }
    }
}

impl IsTerminal for Stderr {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stderr {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Only WASI 0.3 and later call this.
        Box::new(tokio::io::sink())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Stderr {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Stderr {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.keep(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_LOG)
    }
}
