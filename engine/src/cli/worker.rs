//! `reposync worker`

use std::path::PathBuf;

use clap::Args;

use super::context::Context;
use super::error::{CommandError, CommandResult};
use super::exit::Exit;
use super::interrupt::Interrupt;
use crate::config::{Need, StatePlace, service_folder};
use crate::model::host_name;
use crate::worker::{self, WorkerOptions};

/// Arguments of `worker`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct WorkerArgs {
    /// The state of the daemon: postgres://USER@HOST/DATABASE
    #[arg(long, value_name = "URL")]
    state: String,
    /// How `reposync queue` names this worker; the host's name if left out
    #[arg(long, value_name = "NAME")]
    label: Option<String>,
    /// Repositories that it works on at once; `units` of [workers] if left out
    #[arg(long, value_name = "N", value_parser = super::values::positive)]
    units: Option<usize>,
    /// Connect without TLS, which is only possible over loopback
    #[arg(long)]
    no_tls: bool,
    /// The server cannot notify, as with PgBouncer in between: ask for units every `poll` of [workers]
    #[arg(long)]
    no_listen: bool,
}

const AFTER: &str = "\
It needs no reposync.toml: the configuration comes from the daemon through the database. Secrets
that it refers to, as in ${NAME}, must be in the environment of the worker. A password of the
database may be given in PGPASSWORD. Caches are in $STATE_DIRECTORY or $XDG_STATE_HOME/reposync.

SIGTERM and Ctrl-C stop it after the current batch; other workers take over the rest.
";

/// Runs the command.
pub(super) async fn run(context: &Context, args: WorkerArgs) -> CommandResult {
    // What is wrong is said without the text, which may hold a password.
    let password = std::env::var("PGPASSWORD").ok();
    let state = StatePlace::of_argument(&args.state, args.no_tls, password.as_deref())
        .map_err(|why| CommandError::invalid(format!("--state: {why}")))?
        .listening(!args.no_listen);
    let folder = folder(&state)?;
    context.follow()?;
    let interrupt = Interrupt::listen(&context.progress)?;
    let options = WorkerOptions {
        label: args.label.unwrap_or_else(host_name),
        units: args.units,
        folder,
        need: context.need(&Need::enabled()),
        state,
    };
    worker::work(options, interrupt.token()).await?;
    Ok(Exit::Done)
}

/// Where caches of this machine are: a folder for each state.
fn folder(state: &StatePlace) -> Result<PathBuf, CommandError> {
    service_folder(&state.shown(), &|name| std::env::var(name).ok()).ok_or_else(|| {
        CommandError::invalid("no folder for caches: set STATE_DIRECTORY or HOME in the environment")
    })
}
