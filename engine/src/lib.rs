//! RepoSync keeps vector indexes equal to Git repositories.
//!
//! Modules are listed in the order in which a change passes through the program.
//! `tests/it/architecture.rs` enforces which may use which; `docs/architecture.md` describes them.

pub mod api; // the daemon's HTTP API
pub mod app; // the use cases, which commands, daemon and API call
mod blocking; // `spawn_blocking` with a limit per kind of work
pub mod chunk; // a file's text -> chunks: built-in chunkers and WASM components
pub mod cli; // one file per command
pub mod config; // reposync.toml -> Config, reporting all problems at once
mod cpu_time; // the CPU time of a thread, for limits
pub mod daemon; // runs on a schedule, on pushes and on edits
pub mod embed; // texts -> vectors, and their cache
pub mod evaluate; // how well questions find their files
pub mod factory; // Config -> stages and projects
mod fetch; // components from web servers and registries
#[cfg(any(test, fuzzing))]
pub mod fuzz; // fuzz targets, for `fuzz/` and the tests that replay its corpus
pub mod mcp; // the Model Context Protocol: tools for agents
pub mod model; // shared data: entries, documents, chunks, records, errors, events
pub mod net; // HTTP for stages: clients, retries, limits
pub mod notify; // notifications: Slack, webhooks
pub mod plan; // listing + recorded files -> what to add, change, move, remove; pure
mod postgres; // connections to PostgreSQL
mod private; // private permissions of the program's files
pub mod rank; // candidates of a search -> ranking; pure
mod registry; // the list of the kinds of stages
pub mod search; // the use case of searching
mod settings; // reading a table of the configuration
pub mod source; // sources of files: GitHub, local Git
mod sqlite; // helpers for SQLite files
mod stage; // what a kind of stage declares
pub mod state; // what is stored, and the vectors that are paid for
mod state_folder; // folders for the program's own files
pub mod store; // vector stores: embedded SQLite, PostgreSQL with pgvector, Pinecone
pub mod sync; // executes runs
mod upstream; // whether a queue may wait for more
pub mod worker; // works on units of the runs of other processes
