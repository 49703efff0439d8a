//! Turns a component's file into runnable code: reads and checks the file, compiles it or loads it
//! from the cache, links it and calls `describe`.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use wasmtime::component::Component;

use super::bindings::ChunkerPluginPre;
use super::fault::START_REMEDY;
use super::info::ComponentInfo;
use super::instance::Instance;
use super::limits::{Limits, MAX_COMPONENT};
use super::outline::{self, Unfit};
use super::runtime::Runtime;
use super::said::one_line;
use super::sandbox::State;
use crate::chunk::Tokens;
use crate::model::ByteSize;

/// A compiled and linked component, from which instances can be started.
pub(super) struct Compiled {
    pub(super) pre: ChunkerPluginPre<State>,
    pub(super) info: ComponentInfo,
    /// Compile time; `None` if the compiled code came from the cache.
    pub(super) compile_time: Option<Duration>,
    /// False if the compiled code exists only in memory.
    pub(super) is_kept: bool,
}

/// The content of a component's file.
pub(super) struct Binary {
    pub(super) bytes: Vec<u8>,
    pub(super) sha256: String,
}

impl Binary {
    pub(super) fn read(path: &Path) -> Result<Self, Unfit> {
        let unreadable = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => Unfit::new(
                "does not exist",
                "correct the path in `component`, or build it with `reposync plugin build`",
            ),
            _ => Unfit::new(format!("cannot be read: {error}"), "give this user read permission"),
        };
        let file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(Unfit::new("is not a file", "set `component` to the component's file"));
        }
        let too_large = |bytes: u64| {
            let most = ByteSize(MAX_COMPONENT);
            Unfit::new(
                format!("is {} MiB large; the limit is {most}", bytes >> 20),
                "check that this is the right file; build it stripped and optimized for size",
            )
        };
        if metadata.len() > MAX_COMPONENT {
            return Err(too_large(metadata.len()));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
        // Bounds the read even if the file grows in the meantime.
        file.take(MAX_COMPONENT + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > MAX_COMPONENT {
            return Err(too_large(bytes.len() as u64));
        }
        let sha256 = hex::encode(Sha256::digest(&bytes));
        Ok(Self { bytes, sha256 })
    }
}

impl Compiled {
    /// Compiles a component or loads it from the cache, and calls `describe`.
    pub(super) fn of(binary: &Binary, runtime: &Runtime, limits: &Limits) -> Result<Self, Unfit> {
        if let Some(compiled) = Self::cached(&binary.sha256, runtime) {
            return Ok(compiled);
        }
        let outline = outline::read(&binary.bytes)?;
        let started = Instant::now();
        let component = runtime.compile(&binary.bytes).map_err(|error| {
            Unfit::new(
                format!("is not valid: {}", one_line(&error.root_cause().to_string())),
                "build it again with `reposync plugin build`",
            )
        })?;
        let compile_time = started.elapsed();
        let pre = link(runtime, &component)
            .map_err(|error| outline.link_error(&one_line(&format!("{error:#}"))))?;
        let info = describe(&pre, outline.imports, binary, runtime, limits)?;
        let seconds = compile_time.as_secs_f64();
        tracing::info!(component = info.label(), sha256 = info.sha256, seconds, "component compiled");
        let is_kept = runtime.cache().store(&component, &info);
        Ok(Self { pre, info, compile_time: Some(compile_time), is_kept })
    }

    /// Loads a component from the cache. Only valid components are stored there.
    fn cached(sha256: &str, runtime: &Runtime) -> Option<Self> {
        let (component, info) = runtime.cache().load(runtime.engine(), sha256)?;
        let pre = link(runtime, &component).ok()?;
        Some(Self { pre, info, compile_time: None, is_kept: true })
    }
}

fn link(runtime: &Runtime, component: &Component) -> wasmtime::Result<ChunkerPluginPre<State>> {
    runtime.linker().instantiate_pre(component).and_then(ChunkerPluginPre::new)
}

fn describe(
    pre: &ChunkerPluginPre<State>,
    imports: Vec<String>,
    binary: &Binary,
    runtime: &Runtime,
    limits: &Limits,
) -> Result<ComponentInfo, Unfit> {
    let watch = runtime.watch();
    // `describe` is called once per binary, so its result must not depend on an embedder.
    let said = Instance::start(pre, limits, &Tokens::default(), watch)
        .and_then(|mut instance| instance.describe(limits, watch))
        .map_err(|fault| Unfit::new(format!("cannot start: {}", fault.what()), START_REMEDY))?;
    ComponentInfo::checked(said, imports, &binary.sha256, binary.bytes.len() as u64).map_err(|fault| {
        Unfit::new(format!("returned an invalid description: {fault}"), "fix what `describe` returns")
    })
}
