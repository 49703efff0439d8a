//! Chunkers as WASM components. A component computes, it does not reach out: memory, time and
//! output are bounded, and whatever it does spoils its own files' turn and nothing else.
//!
//! `host` holds the engine and turns a stage's settings into a `chunker`; `compiled` is a component
//! ready to start, `starter` starts one for each document, `instance` is one that runs. `outline`
//! and `cache` decide what is compiled, `sandbox` and `limits` what it may use, `offsets` and
//! `answer` what is believed.
//! Nothing outside of this folder names wasmtime.

mod answer;
mod bindings;
mod cache;
mod chunker;
mod compiled;
mod config_json;
mod config_schema;
mod fault;
mod folders;
mod host;
mod info;
mod instance;
mod limits;
mod lock;
mod matching;
mod offsets;
mod outline;
mod replay;
mod runtime;
mod said;
mod sandbox;
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
pub use lock::{Lock, LockedComponent};
pub use offsets::OffsetUnit;
pub use runtime::HostOptions;
pub use said::{How, SaidLine};
pub use trial::{Outcome, Trial, Verdict};
pub use whole::write_whole;

/// The contract between engine and components, as it stands in the repository.
pub const WIT: &str = include_str!("../../../../wit/chunker.wit");
