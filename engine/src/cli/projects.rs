//! The option `--project`, shared by all commands.

use clap::Args;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};

use crate::config;

/// The projects that a command applies to.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Projects {
    /// Only this project; can be repeated [default: all enabled projects]
    #[arg(short, long = "project", value_name = "PROJECT", add = names())]
    pub(super) projects: Vec<String>,
}

/// The project names of the file found from the current folder, for completion. None if the file
/// cannot be read, since completions cannot report errors.
pub(super) fn names() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let found = std::env::current_dir().ok().and_then(|here| config::find(&here, None).ok());
        let names = found.map(|path| config::project_names(&path)).unwrap_or_default();
        names.into_iter().map(CompletionCandidate::new).collect()
    })
}
