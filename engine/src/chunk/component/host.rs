//! The one engine of the process, and the way from a stage's settings to a chunker.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use wasmtime::component::Linker;
use wasmtime::{Config, Engine};

use super::super::WasmSettings;
use super::cache::Cache;
use super::chunker::ComponentChunker;
use super::compiled::{Binary, Compiled};
use super::config_json::{ConfigProblem, RefusedConfig, canonical};
use super::info::ComponentInfo;
use super::instance::Watch;
use super::limits::{Limits, WASM_STACK};
use super::matching::Matching;
use super::outline::Unfit;
use super::pool::Pool;
use super::sandbox::{self, State};
use super::ticker::Ticker;
use crate::model::{StageError, StageResult};

/// How a host runs its components. The default is what a run uses.
#[derive(Debug, Clone, Copy)]
pub struct HostOptions {
    /// Wall time for starting, describing and configuring a component.
    pub start_deadline: Duration,
    /// Count instructions instead of time, so that every run measures the same; slower.
    pub deterministic: bool,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self { start_deadline: Watch::START, deterministic: false }
    }
}

/// Compiles, caches and starts components: one for each process. Cheap to clone.
///
/// Loading and chunking block, and must be called on blocking threads, never on the executor.
#[derive(Clone)]
pub struct ComponentHost {
    shared: Arc<Shared>,
}

/// What instances need of the host.
pub(super) struct Shared {
    engine: Engine,
    linker: Linker<State>,
    clock: Ticker,
    cache: Cache,
    options: HostOptions,
    compilations: AtomicU64,
    /// Where documents are kept on which a component failed.
    pub(super) failed: PathBuf,
    loaded: Slots<Compiled>,
    pools: Slots<Pool>,
}

/// By key, what is in use: dropped with its last user, made by one thread at a time.
struct Slots<T>(Mutex<HashMap<String, Arc<Mutex<Weak<T>>>>>);

impl<T> Slots<T> {
    fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    fn get_or<E>(&self, key: &str, make: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        let slot = {
            let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry(key.to_owned()).or_default())
        };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = slot.upgrade() {
            return Ok(value);
        }
        let value = Arc::new(make()?);
        *slot = Arc::downgrade(&value);
        Ok(value)
    }
}

impl ComponentHost {
    /// A host whose compiled components, and documents on which a component failed, lie below
    /// `cache_dir` (`[engine].cache`).
    pub fn new(cache_dir: &Path) -> StageResult<Self> {
        Self::with(cache_dir, HostOptions::default())
    }

    /// The same with other options.
    pub fn with(cache_dir: &Path, options: HostOptions) -> StageResult<Self> {
        let failed = |error: wasmtime::Error| {
            StageError::local("components", format!("cannot start the component engine: {error:#}"))
        };
        let mut config = Config::new();
        config
            .epoch_interruption(!options.deterministic)
            .consume_fuel(options.deterministic)
            .concurrency_support(false)
            .max_wasm_stack(WASM_STACK);
        let engine = Engine::new(&config).map_err(failed)?;
        let mut linker = Linker::new(&engine);
        sandbox::link(&mut linker).map_err(failed)?;
        let clock = Ticker::start(engine.clone())
            .map_err(|error| StageError::local("components", format!("cannot start a thread: {error}")))?;
        let cache = Cache::open(&cache_dir.join("components"), &engine);
        let shared = Shared {
            engine,
            linker,
            clock,
            cache,
            options,
            compilations: AtomicU64::new(0),
            failed: cache_dir.join("failed-documents"),
            loaded: Slots::new(),
            pools: Slots::new(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The chunker of a stage: compiled (or from the cache), linked, configured. Whatever is wrong
    /// with component or configuration is found here, before any work.
    pub fn load(&self, stage: &str, settings: &WasmSettings) -> StageResult<ComponentChunker> {
        let limits = Limits::of(settings);
        let compiled = self.compiled(stage, settings, &limits)?;
        let label = compiled.info.label();
        let matching = match &settings.patterns {
            Some(patterns) => Matching::patterns(patterns)
                .map_err(|error| StageError::misconfigured(stage, format!("`match`: {error}")))?,
            None => Matching::Extensions(compiled.info.extensions.clone()),
        };
        let config_json = canonical(&settings.config);
        let key = format!("{} {config_json}", compiled.info.sha256);
        let pool = self.shared.pools.get_or(&key, || {
            Ok::<_, StageError>(Pool::new(Arc::clone(&self.shared), compiled, config_json))
        })?;
        let (instance, configured) = pool.start(&limits).map_err(|fault| {
            let message = format!("component `{label}` cannot take its configuration: {}", fault.what());
            StageError::misconfigured(stage, message).hint(fault.remedy(stage))
        })?;
        pool.put(instance, &limits);
        let problems = |diagnostics: Vec<_>| diagnostics.into_iter().map(ConfigProblem::of).collect();
        let warnings: Vec<ConfigProblem> = match configured {
            Ok(warnings) => problems(warnings),
            Err(errors) => {
                let file = settings.component.display();
                return Err(StageError::misconfigured(
                    stage,
                    format!("component `{label}` refuses the stage's `config`"),
                )
                .hint(format!("`reposync plugin inspect {file}` shows what it takes"))
                .caused_by(RefusedConfig { problems: problems(errors) }));
            }
        };
        for warning in &warnings {
            tracing::warn!(stage, component = label, %warning, "component's warning about its configuration");
        }
        Ok(ComponentChunker::new(stage, settings, limits, pool, matching, warnings))
    }

    /// What a component says of itself; compiles and starts it only where the cache does not know.
    pub fn describe(&self, stage: &str, settings: &WasmSettings) -> StageResult<ComponentInfo> {
        let limits = Limits::of(settings);
        let binary = binary(stage, settings)?;
        if let Some(info) = self.shared.cache.info(&binary.sha256) {
            return Ok(info);
        }
        Ok(self.compiled(stage, settings, &limits)?.info.clone())
    }

    /// How many components this host compiled: not those that were in memory or in the cache.
    pub fn compilations(&self) -> u64 {
        self.shared.compilations.load(Ordering::Relaxed)
    }

    fn compiled(&self, stage: &str, settings: &WasmSettings, limits: &Limits) -> StageResult<Arc<Compiled>> {
        let binary = binary(stage, settings)?;
        self.shared
            .loaded
            .get_or(&binary.sha256, || Compiled::of(&binary, &self.shared, limits))
            .map_err(|unfit| error(stage, &settings.component, unfit))
    }
}

/// The stage's component, if it is the one that is pinned.
fn binary(stage: &str, settings: &WasmSettings) -> StageResult<Binary> {
    let path = &settings.component;
    let binary = Binary::read(path).map_err(|unfit| error(stage, path, unfit))?;
    match &settings.sha256 {
        Some(pin) if !pin.eq_ignore_ascii_case(&binary.sha256) => Err(error(
            stage,
            path,
            Unfit::new(
                format!("is another than the pinned one: sha256 {}, pinned is {pin}", binary.sha256),
                "if the new component is wanted, write its digest under `sha256`",
            ),
        )),
        _ => Ok(binary),
    }
}

fn error(stage: &str, path: &Path, unfit: Unfit) -> StageError {
    let message = format!("component `{}` {}", path.display(), unfit.message);
    StageError::misconfigured(stage, message).hint(unfit.hint)
}

impl Shared {
    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn linker(&self) -> &Linker<State> {
        &self.linker
    }

    pub(super) fn cache(&self) -> &Cache {
        &self.cache
    }

    pub(super) fn watch(&self) -> Watch<'_> {
        Watch { clock: &self.clock, start: self.options.start_deadline, fuel: self.options.deterministic }
    }

    pub(super) fn count_compilation(&self) {
        self.compilations.fetch_add(1, Ordering::Relaxed);
    }
}
