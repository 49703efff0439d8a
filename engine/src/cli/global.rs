//! The options that every command takes.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::output::Color;

/// What every command takes.
#[derive(Debug, Args)]
pub(super) struct Global {
    /// The configuration file [default: reposync.toml here or in a folder above]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub(super) config: Option<PathBuf>,
    /// When to colour output; `auto` heeds NO_COLOR and CLICOLOR_FORCE
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
    /// A folder that `${file:…}` may read from; may be given several times
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub(super) secrets_dir: Vec<PathBuf>,
    /// Say more: long lists in full, what is done as it is done (-vv: details)
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet", help_heading = "Global options")]
    pub(super) verbose: u8,
    /// Say less: no progress, and no summary of a run in which all went well
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub(super) quiet: bool,
}
