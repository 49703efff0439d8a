//! The command line: one file per command, which parses arguments, calls the engine, renders the
//! result and chooses the exit status. Only this module prints.

mod allocator;
mod apply;
mod audit;
mod complete;
mod completions;
mod console_link;
mod context;
mod daemon;
mod daemon_client;
mod error;
mod eval;
mod exit;
mod explain;
mod global;
mod health;
mod history;
mod init;
mod interrupt;
mod logging;
mod man;
mod masked;
mod mcp;
mod output;
mod plan;
mod plugin;
mod progress;
mod projects;
mod query;
mod queue;
mod reload;
mod render;
mod run_options;
mod schema;
mod serving;
mod state;
mod status;
mod telemetry;
mod validate;
mod values;
mod verify;
mod worker;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use context::Context;
use error::{CommandError, CommandResult};
use exit::{Detailed, Exit};
use global::Global;
use output::{Color, Output};

/// Keeps vector indexes in sync with Git repositories, as declared in `reposync.toml`.
#[derive(Debug, Parser)]
#[command(
    name = "reposync",
    version,
    max_term_width = 100,
    after_help = format!("{EXAMPLES}\n{}", exit::help_table()),
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  reposync init                    write a starter reposync.toml
  reposync plan                    what differs, and what it will cost
  reposync apply                   do what the plan shows
  reposync query \"how do I log in?\"
  reposync daemon                  keep indexes up to date
";

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a starter reposync.toml into this folder
    Init,
    /// Check the file and report every problem with its position and a hint
    Validate(validate::ValidateArgs),
    /// Print the JSON Schema of the file for editors, with those of the components it names
    Schema,
    /// Show what differs between the declared and the indexed state, and what updating costs
    Plan(plan::PlanArgs),
    /// Update the indexes to the declared state
    Apply(apply::ApplyArgs),
    /// Keep the indexes up to date: on a schedule, on a push, and when the file is edited
    Daemon(daemon::DaemonArgs),
    /// Work on repositories of runs of other machines; the state is in PostgreSQL
    Worker(worker::WorkerArgs),
    /// Show workers, and the repositories of runs that they share
    #[command(subcommand)]
    Queue(queue::QueueCommand),
    /// Make the running daemon reload the file, and wait for the result
    Reload(reload::ReloadArgs),
    /// Print a link to the console of the running daemon that signs in once
    Console(console_link::ConsoleArgs),
    /// Check that the daemon of this file responds: exit 0 or 1, for health checks
    Health(health::HealthArgs),
    /// Show how far each project is behind
    Status(status::StatusArgs),
    /// Show past runs
    History(history::HistoryArgs),
    /// Show who asked for what: runs, reloads, writes, refused tokens
    Audit(audit::AuditArgs),
    /// Search what is indexed
    Query(query::QueryArgs),
    /// Let agents search and read what is indexed: the Model Context Protocol on standard input and output
    Mcp(mcp::McpArgs),
    /// Measure how well questions find their files
    Eval(eval::EvalArgs),
    /// Explain why a file is in the index or not: chunker, recipe, chunks, last error
    Explain(explain::ExplainArgs),
    /// Compare the ledger with the contents of the stores
    Verify(verify::VerifyArgs),
    /// Copy ledger and vector cache to another file or database
    #[command(subcommand)]
    State(state::StateCommand),
    /// Create, build and test chunkers as WASM components
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Print completions for a shell
    Completions(completions::CompletionsArgs),
    /// Write the manual pages into a folder
    Man(man::ManArgs),
}

/// Runs the program. `args` include the program's name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    allocator::tune();
    masked::mask_panics();
    let args: Vec<OsString> = args.into_iter().collect();
    // With `plan --detailed-exitcode`, 2 would mean "there are changes", so errors exit with 1.
    let detailed = args.iter().any(|arg| arg == "--detailed-exitcode");
    complete::answer_shell(Cli::command);
    let command = Cli::command().color(Color::of_args(&args));
    let parsed = command.try_get_matches_from(&args).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return usage(&error, detailed),
    };
    let verbosity = if cli.global.quiet { 0 } else { cli.global.verbose };
    let out = Output::detect(verbosity, cli.global.color);
    let context = Context::new(out.clone(), cli.global);
    // The thread of the daemon's API gets a higher priority than its work.
    let low_priority = matches!(cli.command, Command::Daemon(_) | Command::Worker(_));
    if low_priority {
        crate::private::restrict_process();
    }
    match Context::block_on(low_priority, dispatch(&context, cli.command)) {
        Ok(code) => code,
        Err(error) => {
            out.message(&error.render(&out.error_style));
            if detailed { ExitCode::from(Detailed::Error.code()) } else { error.exit().into() }
        }
    }
}

/// Help and version go to standard output with exit 0; anything else is a usage error.
fn usage(error: &clap::Error, detailed: bool) -> ExitCode {
    // A closed pipe is not an error.
    drop(error.print());
    match (error.use_stderr(), detailed) {
        (false, _) => Exit::Done.into(),
        (true, false) => Exit::Invalid.into(),
        (true, true) => ExitCode::from(Detailed::Error.code()),
    }
}

async fn dispatch(context: &Context, command: Command) -> Result<ExitCode, CommandError> {
    let exit: CommandResult = match command {
        Command::Init => init::run(context),
        Command::Validate(args) => validate::run(context, args).await,
        Command::Schema => schema::run(context).await,
        Command::Plan(args) => return plan::run(context, args).await,
        Command::Apply(args) => apply::run(context, args).await,
        Command::Daemon(args) => daemon::run(context, &args).await,
        Command::Worker(args) => worker::run(context, args).await,
        Command::Queue(command) => queue::run(context, command).await,
        Command::Reload(args) => reload::run(context, &args).await,
        Command::Console(args) => console_link::run(context, &args).await,
        Command::Health(args) => health::run(context, &args).await,
        Command::Status(args) => status::run(context, &args).await,
        Command::History(args) => history::run(context, &args).await,
        Command::Audit(args) => audit::run(context, args).await,
        Command::Query(args) => query::run(context, args).await,
        Command::Mcp(args) => mcp::run(context, &args).await,
        Command::Eval(args) => eval::run(context, args).await,
        Command::Explain(args) => explain::run(context, args).await,
        Command::Verify(args) => verify::run(context, args).await,
        Command::State(command) => state::run(context, command).await,
        Command::Plugin(command) => plugin::run(context, command).await,
        Command::Completions(args) => completions::run(context, &args),
        Command::Man(args) => man::run(&args, Cli::command()),
    };
    exit.map(ExitCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
