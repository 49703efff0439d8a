//! The result of `verify`: how the ledger and the stores differ.

use serde::{Deserialize, Serialize};

use super::Failure;

/// The result of one check.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VerifyReport {
    /// True if differences were to be repaired.
    pub repair: bool,
    /// One entry per project, in the order of the file.
    pub projects: Vec<ProjectVerify>,
}

/// One project's result.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProjectVerify {
    /// The project's name.
    pub project: String,
    /// The place of the project's vectors.
    pub place: String,
    /// Vectors in the ledger that were looked up in the store.
    pub checked: u64,
    /// Vectors in the ledger that are missing from the store, confirmed by a second lookup.
    pub missing: u64,
    /// Vectors of this project in the store that are not in the ledger.
    pub orphans: u64,
    /// Records of other projects or programs in the same place; they are ignored.
    pub foreign: u64,
    /// Missing vectors that were written again.
    pub written: u64,
    /// Orphans deleted.
    pub deleted: u64,
    /// The first few ids, each with its fault and its file.
    pub examples: Vec<String>,
    /// Why the project could not be checked or completely repaired.
    pub error: Option<Failure>,
}

impl VerifyReport {
    /// True if ledger and store agree, possibly after a repair.
    pub fn is_clean(&self) -> bool {
        self.projects.iter().all(|project| project.error.is_none() && !project.is_open())
    }
}

impl ProjectVerify {
    /// The number of differences that remain.
    pub fn open(&self) -> u64 {
        self.missing.saturating_sub(self.written) + self.orphans.saturating_sub(self.deleted)
    }

    /// True if differences remain.
    pub fn is_open(&self) -> bool {
        self.open() > 0
    }

    /// True if no difference was found.
    pub fn is_sound(&self) -> bool {
        self.missing + self.orphans == 0
    }

    /// True if differences were found and all of them were repaired.
    pub fn is_repaired(&self) -> bool {
        !self.is_sound() && !self.is_open()
    }
}
