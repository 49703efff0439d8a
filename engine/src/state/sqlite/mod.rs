//! The state in an SQLite file, the ledger, and the vector cache in another.
//!
//! One process writes to a ledger at a time: the lease is an operating-system lock that ends with its holder.
//! Blocking work runs on a dedicated pool, see [`SqliteState`].

mod adopt;
mod audit;
mod cache_file;
mod database;
mod error;
mod explain;
mod files;
mod findings;
mod ids;
mod lock;
mod overall;
mod plans;
mod projects;
mod repositories;
mod rows;
mod runs;
mod schema;
mod sign_ins;
mod status;
mod store;
mod tables;
mod targets;
mod upgrade;
mod usage;
mod vector_cache;
mod verify;
mod watch;

#[cfg(test)]
mod tests;

pub use lock::RunLock;
pub use store::SqliteState;
pub use vector_cache::SqliteVectorCache;
pub use watch::Moment;
