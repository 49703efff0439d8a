//! The `reposync` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    reposync::cli::run(std::env::args_os())
}
