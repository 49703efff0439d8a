//! `reposync completions`

use anyhow::Context as _;
use clap::Args;
use clap_complete::Shell;
use clap_complete::env::Shells;

use super::complete::{PROGRAM, VARIABLE};
use super::context::Context;
use super::error::CommandResult;
use super::exit::Exit;

/// Arguments of `completions`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

const EXAMPLES: &str = "\
The script asks the program itself for commands, options and the projects of reposync.toml, so it stays
right when either changes.

Examples:
  reposync completions bash > ~/.local/share/bash-completion/completions/reposync
  reposync completions zsh > \"${fpath[1]}/_reposync\"
";

/// Runs the command.
pub(super) fn run(context: &Context, args: &CompletionsArgs) -> CommandResult {
    let name = args.shell.to_string();
    let shells = Shells::builtins();
    let shell = shells.completer(&name).with_context(|| format!("no completions for the shell `{name}`"))?;
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
    context.out.data(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
