//! Answers shells that ask for completions: they run the program with the variable `COMPLETE` set (see
//! `completions`).

use clap::CommandFactory as _;
use clap_complete::env::CompleteEnv;

use super::Cli;

/// The name by which shells call the program.
pub(super) const PROGRAM: &str = "reposync";
/// The variable in which a shell names itself.
pub(super) const VARIABLE: &str = "COMPLETE";

/// Answers a shell that asks for completions, and ends the process; otherwise returns.
pub(super) fn answer_shell() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).bin(PROGRAM).completer(PROGRAM).complete();
}
