//! `reposync man`: generates manual pages from the command-line definition.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Command};

use super::error::CommandResult;
use super::exit::Exit;

/// Arguments of `man`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ManArgs {
    /// The folder to write to; created if missing
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  reposync man ~/.local/share/man/man1 && man reposync-plan
";

/// Runs the command for this command line.
pub(super) fn run(args: &ManArgs, command: Command) -> CommandResult {
    let folder = &args.folder;
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(command, folder))
        .with_context(|| format!("cannot write manual pages into `{}`", folder.display()))?;
    Ok(Exit::Done)
}
