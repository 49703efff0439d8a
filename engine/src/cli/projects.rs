//! `--project`, as all commands take it.

use clap::Args;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};

use crate::config;

/// Which projects a command is about.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Projects {
    /// Only this project; may be given several times [default: all enabled projects]
    #[arg(short, long = "project", value_name = "PROJECT", add = names())]
    pub(super) projects: Vec<String>,
}

/// The names of the projects of the file that is found from the current folder. A file that cannot be
/// read has none: a completion reports no errors.
pub(super) fn names() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let found = std::env::current_dir().ok().and_then(|here| config::find(&here, None).ok());
        let names = found.map(|path| config::project_names(&path)).unwrap_or_default();
        names.into_iter().map(CompletionCandidate::new).collect()
    })
}
