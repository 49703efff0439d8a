//! The options of a run, from the file and from what was asked for.

use crate::config::Config;
use crate::plan::{Guard, Prune, SpendingGuard};
use crate::sync::Options;

/// What a run was asked to do and allowed to do, on the command line or through the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line or the API")]
pub struct RunFlags {
    /// Believe neither ledger nor stored answers.
    pub full: bool,
    /// Whether orphans are removed.
    pub prune: Prune,
    /// Let the deletion guard pass everything.
    pub allow_deletes: bool,
    /// Let the spending guard pass everything.
    pub allow_cost: bool,
    /// The run is over the whole file, orphaned projects included.
    pub whole_file: bool,
}

/// The options of a run over `config`.
pub fn options(config: &Config, flags: RunFlags) -> Options {
    let RunFlags { full, prune, allow_deletes, allow_cost, whole_file } = flags;
    let guard = Guard { max_delete_ratio: config.engine.max_delete_ratio, allow_deletes };
    let spending = SpendingGuard { max_new_texts_ratio: config.engine.max_new_texts_ratio, allow_cost };
    let public_url = config.api.public_url.clone();
    Options { full, prune, whole_file, public_url, ..Options::new(guard, spending, config.project_names()) }
}

/// What a daemon does about orphans.
pub fn standing_prune(config: &Config) -> Prune {
    if config.engine.prune { Prune::Standing } else { Prune::No }
}
