//! Completion of values that only the configuration knows. The shell runs the program for them, with
//! the variable `COMPLETE` set (see `completions`).

use clap::CommandFactory as _;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::CompleteEnv;

use super::Cli;
use crate::config;

/// The name by which shells call the program.
pub(super) const PROGRAM: &str = "reposync";
/// The variable in which a shell names itself.
pub(super) const VARIABLE: &str = "COMPLETE";

/// Answers a shell that asks for completions, and ends the process; otherwise returns.
pub(super) fn answer_shell() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).bin(PROGRAM).completer(PROGRAM).complete();
}

/// The names of the projects of the file that is found from the current folder. A file that cannot be
/// read has none: a completion reports no errors.
pub(super) fn projects() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let found = std::env::current_dir().ok().and_then(|here| config::find(&here, None).ok());
        let names = found.map(|path| config::project_names(&path)).unwrap_or_default();
        names.into_iter().map(CompletionCandidate::new).collect()
    })
}
