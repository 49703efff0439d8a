//! What `verify` found when it laid the ledger beside the store.

use serde::{Deserialize, Serialize};

use super::Failure;

/// One check of one or more projects.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// True when differences were to be mended.
    pub repair: bool,
    /// One entry for each project, in the order of the file.
    pub projects: Vec<ProjectVerify>,
}

/// One project's part of a check.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProjectVerify {
    /// The project's name.
    pub project: String,
    /// Where its vectors live.
    pub place: String,
    /// Vectors that the ledger knows of and that were looked for.
    pub checked: u64,
    /// Holes: vectors that the ledger knows of and the store does not hold, after a second look.
    pub missing: u64,
    /// Vectors of this project that the store holds and the ledger does not know of.
    pub orphans: u64,
    /// Records of others in the same place; they are left alone.
    pub foreign: u64,
    /// Holes mended.
    pub written: u64,
    /// Orphans deleted.
    pub deleted: u64,
    /// The first few ids, each with what is wrong and the file it belongs to.
    pub examples: Vec<String>,
    /// Why the project could not be checked, or not be mended whole.
    pub error: Option<Failure>,
}

impl VerifyReport {
    /// True when ledger and store agree (now).
    pub fn is_clean(&self) -> bool {
        self.projects.iter().all(|project| project.error.is_none() && !project.is_open())
    }
}

impl ProjectVerify {
    /// Differences that are still there.
    pub fn open(&self) -> u64 {
        self.missing.saturating_sub(self.written) + self.orphans.saturating_sub(self.deleted)
    }

    /// True while there are differences.
    pub fn is_open(&self) -> bool {
        self.open() > 0
    }

    /// True when no difference was found.
    pub fn is_sound(&self) -> bool {
        self.missing + self.orphans == 0
    }

    /// True when differences were found and all of them were mended.
    pub fn is_repaired(&self) -> bool {
        !self.is_sound() && !self.is_open()
    }
}
