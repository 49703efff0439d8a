//! Handles completion requests of shells, which run the program with the variable `COMPLETE` set
//! (see `completions`).

use clap::Command;
use clap_complete::env::CompleteEnv;

/// The program's name in completion scripts.
pub(super) const PROGRAM: &str = "reposync";
/// The variable that names the shell.
pub(super) const VARIABLE: &str = "COMPLETE";

/// Responds to a completion request and exits; returns if there is none. `command` makes the command line.
pub(super) fn answer_shell(command: impl Fn() -> Command) {
    CompleteEnv::with_factory(command).var(VARIABLE).bin(PROGRAM).completer(PROGRAM).complete();
}
