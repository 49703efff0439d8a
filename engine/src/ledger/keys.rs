//! What names a file or a record in the ledger.

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
