//! What names a file or a record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{Fingerprint, Place};

/// A file of a project.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileKey {
    /// The repository's name.
    pub repository: String,
    /// The path.
    pub path: String,
}

impl FileKey {
    /// The file of this repository and path.
    pub fn new(repository: impl Into<String>, path: impl Into<String>) -> Self {
        Self { repository: repository.into(), path: path.into() }
    }
}

/// Record ids of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileIds {
    /// The file.
    pub file: FileKey,
    /// The ids.
    pub ids: Vec<String>,
}

/// Record ids that a file has, or may have, in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedIds {
    /// The place.
    pub place: Arc<Place>,
    /// The file.
    pub file: FileKey,
    /// True if the file is recorded as stored there; false if there are only open intents and leftovers.
    pub recorded: bool,
    /// The ids.
    pub ids: Vec<String>,
}

/// Whose ids to read.
#[derive(Debug, Clone)]
pub enum IdsOf {
    /// Those of the whole project: recorded ones, open intents and leftovers.
    Project,
    /// The same of these files.
    Files(Vec<FileKey>),
    /// Leftovers of the project that may be deleted: those of files that are complete in their place, or gone.
    Leftovers,
}

/// A record id in a place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Leftover {
    /// The place.
    pub place: Arc<Place>,
    /// The record's id.
    pub id: String,
}

impl PlacedIds {
    /// Each id with its place.
    pub fn each(self) -> impl Iterator<Item = Leftover> {
        let place = self.place;
        self.ids.into_iter().map(move |id| Leftover { place: Arc::clone(&place), id })
    }
}

/// What may be in a place for one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeldIds {
    /// Recorded chunks, with the fingerprint of their metadata.
    pub chunks: BTreeMap<String, Fingerprint>,
    /// Ids of unknown state: open intents and leftovers.
    pub open: BTreeSet<String>,
}
