//! Turns a stage's settings into a chunker.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::chunker::ComponentChunker;
use super::compiled::{Binary, Compiled};
use super::config_json::{ConfigProblem, RefusedConfig, canonical};
use super::config_schema;
use super::folders::Folders;
use super::info::ComponentInfo;
use super::limits::Limits;
use super::location::Location;
use super::matching::Matching;
use super::outline::Unfit;
use super::runtime::{HostOptions, Runtime};
use super::said;
use super::settings::WasmSettings;
use super::starter::Starter;
use crate::chunk::Tokens;
use crate::model::{ErrorKind, StageError, StageResult};

/// Compiles, caches and starts components. One per process; cheap to clone.
///
/// Loading, describing and chunking block and must run on blocking threads. On an async worker
/// thread a component that prints would panic, because WASI's synchronous calls block on the
/// runtime.
#[derive(Clone)]
pub struct ComponentHost {
    shared: Arc<Shared>,
}

struct Shared {
    runtime: Arc<Runtime>,
    loaded: Slots<Compiled>,
    /// Strong references to components whose compiled code could not be cached on disk, so that
    /// each is compiled once per process.
    in_memory: Mutex<VecDeque<Arc<Compiled>>>,
}

/// Maximum number of components in `in_memory`; the oldest are dropped first. Bounds the memory of
/// a daemon whose component is replaced again and again.
const MAX_IN_MEMORY: usize = 32;

/// Values in use, by key: a value is dropped with its last user and created by one thread at a
/// time.
struct Slots<T>(Mutex<HashMap<String, Arc<Mutex<Weak<T>>>>>);

impl<T> Slots<T> {
    fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    fn get_or<E>(&self, key: &str, make: impl FnOnce() -> Result<T, E>) -> Result<Arc<T>, E> {
        let slot = {
            let mut slots = self.0.lock();
            Arc::clone(slots.entry(key.to_owned()).or_default())
        };
        let mut slot = slot.lock();
        if let Some(value) = slot.upgrade() {
            return Ok(value);
        }
        let value = Arc::new(make()?);
        *slot = Arc::downgrade(&value);
        Ok(value)
    }
}

impl ComponentHost {
    /// Creates a host with the default options.
    pub fn new(folders: &Folders) -> StageResult<Self> {
        Self::with(folders, HostOptions::default())
    }

    /// Creates a host with these options.
    pub fn with(folders: &Folders, options: HostOptions) -> StageResult<Self> {
        let runtime = Arc::new(Runtime::new(folders, options)?);
        let shared = Shared { runtime, loaded: Slots::new(), in_memory: Mutex::default() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Loads the chunker of a stage: compiles (or loads from the cache), links and configures it.
    /// Reports all problems of component and configuration before any work starts.
    pub fn load(&self, stage: &str, settings: &WasmSettings) -> StageResult<ComponentChunker> {
        self.load_with(stage, settings, None, Tokens::default())
    }

    /// The same with what the component may ask about the embedder. A component with an address was fetched
    /// into the file `fetched`.
    pub fn load_with(
        &self,
        stage: &str,
        settings: &WasmSettings,
        fetched: Option<&Path>,
        tokens: Tokens,
    ) -> StageResult<ComponentChunker> {
        let file = fetched.map_or_else(|| local(stage, settings), Ok)?;
        let limits = Limits::of(settings);
        let compiled = self.compiled(stage, settings, file, &limits)?;
        let label = compiled.info.label();
        let matching = match &settings.patterns {
            Some(patterns) => Matching::patterns(patterns)
                .map_err(|error| StageError::misconfigured(stage, format!("`match`: {error}")))?,
            None => Matching::declared(&compiled.info.extensions).map_err(|error| {
                StageError::misconfigured(
                    stage,
                    format!("extensions of `{}`: {error}", compiled.info.label()),
                )
            })?,
        };
        let config_json = canonical(&settings.config);
        if let Some(schema) = &compiled.info.config_schema {
            let problems = config_schema::check(schema, &settings.config).map_err(|why| {
                StageError::misconfigured(
                    stage,
                    format!("the schema of component `{label}` cannot be used: {why}"),
                )
                .hint("this is a bug in the component; its author must fix what `describe` returns")
            })?;
            if !problems.is_empty() {
                let message = format!("the stage's `config` does not fit the schema of component `{label}`");
                return Err(refused(stage, settings, message, problems));
            }
        }
        let runtime = Arc::clone(&self.shared.runtime);
        let starter = Starter { runtime, compiled, config_json, limits, tokens };
        let (instance, configured) = starter.start().map_err(|fault| {
            let message = format!("component `{label}` failed on its configuration: {}", fault.what());
            StageError::misconfigured(stage, message).hint(fault.remedy(stage))
        })?;
        said::trace(&label, None, || instance.said());
        drop(instance);
        let problems = |diagnostics: Vec<_>| diagnostics.into_iter().map(ConfigProblem::of).collect();
        let warnings: Vec<ConfigProblem> = match configured {
            Ok(warnings) => problems(warnings),
            Err(errors) => {
                let message = format!("component `{label}` refuses the stage's `config`");
                return Err(refused(stage, settings, message, problems(errors)));
            }
        };
        for warning in &warnings {
            tracing::warn!(stage, component = label, %warning, "component warned about its configuration");
        }
        Ok(ComponentChunker::new(stage, settings, file, starter, matching, warnings))
    }

    /// The component's description of itself. Compiles and starts the component only on a cache
    /// miss.
    pub fn describe(&self, stage: &str, settings: &WasmSettings) -> StageResult<ComponentInfo> {
        let limits = Limits::of(settings);
        let file = local(stage, settings)?;
        let binary = binary(stage, settings, file)?;
        if let Some(info) = self.shared.runtime.cache().info(&binary.sha256) {
            return Ok(info);
        }
        Ok(self.compiled(stage, settings, file, &limits)?.info.clone())
    }

    /// Describes a component and appends custom sections to it. Returns description and bytes of the
    /// result. Custom sections do not change the code, so the result is not compiled again.
    pub fn describe_extended(
        &self,
        stage: &str,
        settings: &WasmSettings,
        sections: impl FnOnce(&ComponentInfo) -> Vec<u8>,
    ) -> StageResult<(ComponentInfo, Vec<u8>)> {
        let file = local(stage, settings)?;
        let compiled = self.compiled(stage, settings, file, &Limits::of(settings))?;
        let mut bytes = binary(stage, settings, file)?.bytes;
        bytes.extend(sections(&compiled.info));
        let mut info = compiled.info.clone();
        (info.sha256, info.bytes) = (hex::encode(Sha256::digest(&bytes)), bytes.len() as u64);
        self.shared.runtime.cache().store(compiled.pre.instance_pre().component(), &info);
        Ok((info, bytes))
    }

    /// Like [`Self::describe`], for a component's file with default settings.
    pub fn describe_file(&self, stage: &str, component: &Path) -> StageResult<ComponentInfo> {
        self.describe(stage, &WasmSettings::of(component))
    }

    /// Number of components this host compiled; cache hits do not count.
    pub fn compilations(&self) -> u64 {
        self.shared.runtime.compilations()
    }

    fn compiled(
        &self,
        stage: &str,
        settings: &WasmSettings,
        file: &Path,
        limits: &Limits,
    ) -> StageResult<Arc<Compiled>> {
        let binary = binary(stage, settings, file)?;
        let compiled = self
            .shared
            .loaded
            .get_or(&binary.sha256, || Compiled::of(&binary, &self.shared.runtime, limits))
            .map_err(|unfit| error(stage, &settings.component, unfit))?;
        if !compiled.is_kept {
            self.shared.hold(&compiled);
        }
        Ok(compiled)
    }
}

/// The error for a configuration that cannot be used, with its problems.
fn refused(
    stage: &str,
    settings: &WasmSettings,
    message: String,
    problems: Vec<ConfigProblem>,
) -> StageError {
    StageError::misconfigured(stage, message)
        .hint(format!(
            "`reposync plugin inspect {}` shows which configuration it accepts",
            settings.component
        ))
        .caused_by(RefusedConfig { problems })
}

/// The file of a component that is not fetched.
fn local<'a>(stage: &str, settings: &'a WasmSettings) -> StageResult<&'a Path> {
    settings.component.file().ok_or_else(|| {
        StageError::new(stage, ErrorKind::Bug, format!("component `{}` was not fetched", settings.component))
    })
}

/// Reads the stage's component and checks its pinned digest.
fn binary(stage: &str, settings: &WasmSettings, file: &Path) -> StageResult<Binary> {
    let path = &settings.component;
    let binary = Binary::read(file).map_err(|unfit| error(stage, path, unfit))?;
    match &settings.sha256 {
        Some(pin) if !pin.eq_ignore_ascii_case(&binary.sha256) => Err(error(
            stage,
            path,
            Unfit::new(
                format!("does not match its pinned digest: its sha256 is {}, pinned is {pin}", binary.sha256),
                "to accept the new component, set `sha256` to its digest",
            ),
        )),
        _ => Ok(binary),
    }
}

fn error(stage: &str, location: &Location, unfit: Unfit) -> StageError {
    let message = format!("component `{location}` {}", unfit.message);
    StageError::misconfigured(stage, message).hint(unfit.hint)
}

impl Shared {
    /// Keeps a component in memory.
    fn hold(&self, compiled: &Arc<Compiled>) {
        let mut held = self.in_memory.lock();
        if held.iter().any(|one| Arc::ptr_eq(one, compiled)) {
            return;
        }
        held.push_back(Arc::clone(compiled));
        if held.len() > MAX_IN_MEMORY {
            held.pop_front();
        }
    }
}
