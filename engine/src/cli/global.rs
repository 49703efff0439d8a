//! Options of every command.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::output::Color;

/// Options of every command.
#[derive(Debug, Args)]
pub(super) struct Global {
    /// The configuration file [default: reposync.toml in this folder or a parent folder]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub(super) config: Option<PathBuf>,
    /// When to colour output; `auto` respects NO_COLOR and CLICOLOR_FORCE
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true,
        help_heading = "Global options"
    )]
    pub(super) color: Color,
    /// A folder that `${file:…}` may read from; can be repeated
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub(super) secrets_dir: Vec<PathBuf>,
    /// Show more: long lists in full, each step (-vv: details)
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet", help_heading = "Global options")]
    pub(super) verbose: u8,
    /// Show less: no progress, and no summary of a run without failures
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub(super) quiet: bool,
}
