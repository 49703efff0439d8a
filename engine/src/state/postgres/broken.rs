//! What ends an attempt at a transaction.

use crate::postgres::Failure;

/// Why an attempt at a transaction failed.
#[derive(Debug)]
pub(super) enum Broken {
    Failed(Failure),
    /// A program of another version has changed the tables.
    Migrated(i32),
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
