//! Handles completion requests of shells, which run the program with the variable `COMPLETE` set
//! (see `completions`).

use clap::CommandFactory as _;
use clap_complete::env::CompleteEnv;

use super::Cli;

/// The program's name in completion scripts.
pub(super) const PROGRAM: &str = "reposync";
/// The variable that names the shell.
pub(super) const VARIABLE: &str = "COMPLETE";

/// Responds to a completion request and exits; returns if there is none.
pub(super) fn answer_shell() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).bin(PROGRAM).completer(PROGRAM).complete();
}
