//! Options of runs, shared by `plan` and `apply`.

use clap::Args;

use super::projects::Projects;
use crate::factory::RunFlags;
use crate::plan::Prune;

/// The scope of a run, and what it may do.
#[derive(Debug, Clone, Default, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct RunOptions {
    #[command(flatten)]
    pub(super) projects: Projects,
    /// Ignore the ledger and cached responses: list, fetch, chunk and write every file again
    #[arg(long)]
    pub(super) full: bool,
    /// Remove orphans: projects removed from the file, repositories gone from the source
    #[arg(long)]
    pub(super) prune: bool,
    /// Override the deletion guard
    #[arg(long)]
    pub(super) allow_deletes: bool,
    /// Override the spending guard
    #[arg(long)]
    pub(super) allow_cost: bool,
}

impl RunOptions {
    /// What a run with these options may do.
    pub(super) fn flags(&self) -> RunFlags {
        RunFlags {
            full: self.full,
            prune: if self.prune { Prune::Asked } else { Prune::No },
            allow_deletes: self.allow_deletes,
            allow_cost: self.allow_cost,
            whole_file: self.projects.projects.is_empty(),
        }
    }
}
