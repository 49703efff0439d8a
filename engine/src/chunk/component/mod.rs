//! Runs chunkers as WASM components in a sandbox without I/O. Memory, time and output are limited,
//! and a failing component affects only its own files.
//!
//! `host` holds the engine and turns a stage's settings into a `chunker`; `compiled` is a component
//! ready to start, `starter` starts one instance per document, `instance` is a running one.
//! `outline` and `cache` decide what is compiled, `sandbox` and `limits` what a component may use;
//! `offsets` and `answer` validate its results. Nothing outside of this folder depends on wasmtime.

mod answer;
mod bindings;
mod cache;
mod chunker;
mod compiled;
mod config;
mod config_json;
mod config_schema;
mod fault;
mod folders;
mod host;
mod info;
mod instance;
mod instance_memory;
mod limits;
mod location;
mod lock;
mod matching;
mod offsets;
mod outline;
mod replay;
mod reserved;
mod runtime;
mod said;
mod sandbox;
mod settings;
mod starter;
mod ticker;
mod trial;
mod uncaught;
mod whole;

#[cfg(any(test, fuzzing))]
pub use answer::fuzz;
pub use cache::remove_former_cache;
pub use chunker::ComponentChunker;
pub use config_json::{ConfigProblem, RefusedConfig};
pub use folders::{Folders, default_compiled_cache};
pub use host::ComponentHost;
pub use info::ComponentInfo;
pub use limits::MAX_COMPONENT;
pub use location::{Address, Artifact, Location, is_digest};
pub use lock::{Lock, LockedComponent};
pub use offsets::OffsetUnit;
pub use runtime::HostOptions;
pub use said::{How, SaidLine};
pub use settings::{OnError, WasmSettings};
pub use trial::{Outcome, Trial, Verdict};
pub use whole::write_whole;

/// The contract between engine and components (`wit/chunker.wit`).
pub const WIT: &str = include_str!("../../../../wit/chunker.wit");
