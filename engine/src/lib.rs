//! RepoSync keeps vector indexes equal to Git repositories.
//!
//! The table of contents, in the order in which a change travels through the program.
//! Who may use whom is fixed by `tests/it/architecture.rs` and told in `docs/architecture.md`.

pub mod api; // the daemon's HTTP API
mod blocking; // blocking work, so much at once of each kind
pub mod chunk; // a file's text -> chunks: built in, or WASM components
pub mod cli; // one file per command
pub mod config; // reposync.toml -> Config, every problem at once
pub mod daemon; // keeps it so: schedule, push, edit
pub mod embed; // texts -> vectors, and the cache that keeps them from being paid for twice
#[cfg(any(test, fuzzing))]
pub mod fuzz; // what outsiders hand over, for `fuzz/` and the tests that replay its corpus
pub mod ledger; // what we believe is stored
pub mod model; // what travels: entries, documents, chunks, records, errors, events
pub mod net; // what HTTP stages share: clients, retries, limits
pub mod notify; // telling people: Slack, webhooks
pub mod plan; // listing + known files -> what to add, change, move, remove; pure
mod private; // permissions of the files that the program keeps
pub mod source; // where files come from: GitHub, local Git
mod sqlite; // what the SQLite files have in common
mod state_folder; // folders that the program makes for what it keeps
pub mod store; // where vectors live: Pinecone, embedded SQLite
pub mod sync; // runs a plan
pub mod wire; // composition root: Config -> stages
