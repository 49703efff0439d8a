//! The options of a plan as its file keeps them.

use serde::{Deserialize, Serialize};

use crate::plan::Prune;

/// The options that a plan was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct SavedOptions {
    /// `--full`
    pub full: bool,
    /// `--prune`
    pub prune: Prune,
    /// `--allow-deletes`
    pub allow_deletes: bool,
    /// `--allow-cost`
    pub allow_cost: bool,
    /// The plan is over the whole file, orphaned projects included.
    pub whole_file: bool,
}
