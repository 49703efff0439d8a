//! The options that say what a run may do: the same for `plan` and `apply`.

use clap::Args;

use super::projects::Projects;

/// What a run is over and what it may do.
#[derive(Debug, Clone, Default, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct RunOptions {
    #[command(flatten)]
    pub(super) projects: Projects,
    /// Believe neither ledger nor stored answers: list, fetch, chunk and write every file again
    #[arg(long)]
    pub(super) full: bool,
    /// Remove orphans: projects taken out of the file, repositories gone from the source
    #[arg(long)]
    pub(super) prune: bool,
    /// Let the deletion guard pass everything
    #[arg(long)]
    pub(super) allow_deletes: bool,
    /// Let the spending guard pass everything
    #[arg(long)]
    pub(super) allow_cost: bool,
}
