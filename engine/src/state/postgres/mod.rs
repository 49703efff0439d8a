//! The state and the vector cache in a PostgreSQL database, which several processes use at once.
//!
//! A transaction that fails because the server is away, or because of other transactions, is tried again; see
//! `store.rs`. Leases are rows that their holder renews; see `lease.rs` and `keeper.rs`.

mod adopt;
mod allowances;
mod audit;
mod broken;
mod claims;
mod daemons;
mod explain;
mod files;
mod findings;
mod ids;
mod keeper;
mod lease;
mod overall;
mod plans;
mod projects;
mod queue;
mod repositories;
mod runs;
mod schema;
mod sign_ins;
mod status;
mod store;
mod suspects;
mod tables;
mod targets;
mod usage;
mod vector_cache;
mod verify;

#[cfg(test)]
mod clock_tests;
#[cfg(test)]
mod cuts;
#[cfg(test)]
mod daemons_tests;
#[cfg(test)]
mod equivalence;
#[cfg(test)]
mod tests;

pub use store::PostgresState;
pub use vector_cache::PostgresVectorCache;
