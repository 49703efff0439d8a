//! State shared by the instances of all components: the engine, the linker, the clock, the cache.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine};

use super::cache::{Cache, Functions};
use super::folders::Folders;
use super::instance::Watch;
use super::instance_memory;
use super::limits::WASM_STACK;
use super::sandbox::{self, State};
use super::ticker::Ticker;
use crate::model::{StageError, StageResult};

/// Options of a host. The default is what a run uses.
#[derive(Debug, Clone, Copy)]
pub struct HostOptions {
    /// Wall time for starting, describing and configuring a component.
    pub start_deadline: Duration,
    /// Limit by instructions instead of time, for reproducible results; slower.
    pub deterministic: bool,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self { start_deadline: Watch::START, deterministic: false }
    }
}

/// The process-wide engine and its resources.
pub(super) struct Runtime {
    engine: Engine,
    linker: Linker<State>,
    clock: Ticker,
    cache: Cache,
    functions: Arc<Functions>,
    options: HostOptions,
    compilations: AtomicU64,
    /// Folder for documents on which a component failed.
    failed: PathBuf,
}

impl Runtime {
    pub(super) fn new(folders: &Folders, options: HostOptions) -> StageResult<Self> {
        let failed = |error: wasmtime::Error| {
            StageError::local("components", format!("cannot start the component engine: {error:#}"))
        };
        let mut config = Config::new();
        config
            .epoch_interruption(!options.deterministic)
            .consume_fuel(options.deterministic)
            .concurrency_support(false)
            .max_wasm_stack(WASM_STACK);
        let functions = Arc::new(Functions::default());
        config.enable_incremental_compilation(Arc::clone(&functions) as Arc<_>).map_err(failed)?;
        let engine = instance_memory::engine(config).map_err(failed)?;
        let mut linker = Linker::new(&engine);
        sandbox::link(&mut linker).map_err(failed)?;
        let clock = Ticker::start(engine.clone())
            .map_err(|error| StageError::local("components", format!("cannot start a thread: {error}")))?;
        let cache = Cache::open(folders, &engine);
        let (compilations, failed) = (AtomicU64::new(0), folders.failed.clone());
        Ok(Self { engine, linker, clock, cache, functions, options, compilations, failed })
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn linker(&self) -> &Linker<State> {
        &self.linker
    }

    pub(super) fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Folder for documents on which a component failed.
    pub(super) fn failed(&self) -> &Path {
        &self.failed
    }

    pub(super) fn watch(&self) -> Watch<'_> {
        Watch { clock: &self.clock, start: self.options.start_deadline, fuel: self.options.deterministic }
    }

    /// Compiles a component.
    pub(super) fn compile(&self, bytes: &[u8]) -> wasmtime::Result<Component> {
        let component = self.cache.compile(&self.engine, &self.functions, bytes)?;
        self.compilations.fetch_add(1, Ordering::Relaxed);
        Ok(component)
    }

    pub(super) fn compilations(&self) -> u64 {
        self.compilations.load(Ordering::Relaxed)
    }
}
