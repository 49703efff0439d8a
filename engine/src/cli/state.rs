//! `reposync state`

use clap::{Args, Subcommand};

use super::context::Context;
use super::error::{CommandError, CommandResult};
use super::exit::Exit;
use crate::config::StatePlace;
use crate::{app, factory};

/// Commands on the state.
#[derive(Debug, Subcommand)]
pub(super) enum StateCommand {
    /// Copy ledger and vector cache between a file and a PostgreSQL database, or two of a kind
    Copy(CopyArgs),
}

/// Arguments of `state copy`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct CopyArgs {
    /// A ledger's file, or postgres://USER@HOST/DATABASE
    #[arg(value_name = "FROM")]
    from: String,
    /// The same; holds nothing yet
    #[arg(value_name = "TO")]
    to: String,
    /// Connect without TLS, which is only possible over loopback
    #[arg(long)]
    no_tls: bool,
    /// Print the numbers of rows as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
The vector cache of a file is `cache.db` in the same folder. A password may be given in PGPASSWORD.

Examples:
  reposync state copy .reposync/state.db postgres://reposync@db.example.com/reposync
  reposync state copy postgres://reposync@db.example.com/reposync backup/state.db
";

/// Runs the command.
pub(super) async fn run(context: &Context, command: StateCommand) -> CommandResult {
    let StateCommand::Copy(args) = command;
    // What is wrong is said without the text, which may hold a password.
    let place = |name: &str, text: &str| {
        let password = std::env::var("PGPASSWORD").ok();
        StatePlace::of_argument(text, args.no_tls, password.as_deref())
            .map_err(|why| CommandError::invalid(format!("{name}: {why}")))
    };
    let (from, to) = (place("FROM", &args.from)?, place("TO", &args.to)?);
    if from == to {
        return Err(CommandError::invalid("both are the same state"));
    }
    if let Some(file) = from.file().filter(|file| !file.exists()) {
        return Err(CommandError::invalid(format!("there is no file `{}`", file.display())));
    }
    let (source, _reading) = factory::open_for_copy(&from).await?;
    let (target, _writing) = factory::open_for_copy(&to).await?;
    let copied = app::copy_state(&source, &target).await?;
    if args.json {
        let rows: serde_json::Map<String, serde_json::Value> =
            copied.into_iter().map(|(table, rows)| (table.to_owned(), rows.into())).collect();
        context.out.json(&rows)?;
    } else if !context.quiet() {
        let width = copied.iter().map(|(table, _)| table.len()).max().unwrap_or_default();
        for (table, rows) in copied {
            context.out.data(&format!("{table:width$}  {rows}\n"))?;
        }
        context.out.data("Copied and compared. Set `state` in `[engine]` to use it.\n")?;
    }
    Ok(Exit::Done)
}
