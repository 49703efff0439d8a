//! What names a file or a record.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Fingerprint;

/// Which file of which project.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct FileKey<'a> {
    pub(crate) repository: &'a str,
    pub(crate) path: &'a str,
}

/// A record id to delete from a place that its file has left.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Leftover {
    /// The place, by the ledger's number.
    pub place: i64,
    /// The record's id.
    pub id: String,
}

/// What may be in a place for one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HeldIds {
    /// Recorded chunks, with the fingerprint of their metadata.
    pub(crate) chunks: BTreeMap<String, Fingerprint>,
    /// Ids of unknown state: open intents and leftovers.
    pub(crate) open: BTreeSet<String>,
}
