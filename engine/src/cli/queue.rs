//! `reposync queue`

use clap::{Args, Subcommand, ValueEnum};

use super::context::Context;
use super::error::{CommandError, CommandResult};
use super::exit::Exit;
use super::render;
use crate::app::{App, UnitQuery};
use crate::config::Need;
use crate::model::EventSink;
use crate::state::UnitState;

/// Commands on the queue of units.
#[derive(Debug, Subcommand)]
pub(super) enum QueueCommand {
    /// List workers and units
    List(ListArgs),
    /// Show a unit with all its failed attempts
    Show(UnitArgs),
    /// Let the next run work on a dead unit's repository again
    Retry(UnitArgs),
    /// Take a dead unit out of the list; its repository is worked on again once it changes
    Drop(UnitArgs),
}

/// Arguments of `queue list`.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only units in this state
    #[arg(long, value_name = "STATE")]
    state: Option<Chosen>,
    /// Maximum number of units, newest first
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = super::values::positive)]
    limit: usize,
    /// Print workers and units as JSON
    #[arg(long)]
    json: bool,
}

/// The states of units.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Chosen {
    Ready,
    Running,
    Done,
    Dead,
    Dropped,
}

impl From<Chosen> for UnitState {
    fn from(chosen: Chosen) -> Self {
        match chosen {
            Chosen::Ready => Self::Ready,
            Chosen::Running => Self::Running,
            Chosen::Done => Self::Done,
            Chosen::Dead => Self::Dead,
            Chosen::Dropped => Self::Dropped,
        }
    }
}

/// Arguments of commands on one unit.
#[derive(Debug, Args)]
pub(super) struct UnitArgs {
    /// The number of the unit
    #[arg(value_name = "UNIT")]
    id: i64,
    /// Print the unit as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) async fn run(context: &Context, command: QueueCommand) -> CommandResult {
    let config = context.load_to_read(&Need::enabled().only(&[]))?;
    let app = App::for_reading(config, EventSink::none(), tokio_util::sync::CancellationToken::new()).await?;
    match command {
        QueueCommand::List(ListArgs { state, limit, json }) => {
            let state = state.map(UnitState::from);
            let view = app.queue(&UnitQuery { state, limit, ..UnitQuery::default() }).await?;
            if json {
                context.out.json(&view)?;
            } else {
                context.out.data(&render::queue::list(&view, context.out.style.width))?;
            }
        }
        QueueCommand::Show(UnitArgs { id, json }) => {
            let unit = app.unit(id).await?.ok_or_else(|| no_unit(id))?;
            if json {
                context.out.json(&unit)?;
            } else {
                context.out.data(&render::queue::unit(&unit))?;
            }
        }
        QueueCommand::Retry(args) => settle(context, &app, &args, true).await?,
        QueueCommand::Drop(args) => settle(context, &app, &args, false).await?,
    }
    Ok(Exit::Done)
}

async fn settle(context: &Context, app: &App, args: &UnitArgs, retry: bool) -> Result<(), CommandError> {
    let unit = app.settle_unit(args.id, retry).await?.ok_or_else(|| no_dead_unit(args.id))?;
    if args.json {
        context.out.json(&unit)?;
    } else if !context.quiet() {
        let then = if retry {
            "the next run of the project works on it"
        } else {
            "it is worked on once it or the configuration changes"
        };
        context.out.data(&format!("{} of {}: {then}.\n", unit.repository, unit.project))?;
    }
    Ok(())
}

fn no_unit(id: i64) -> CommandError {
    CommandError::invalid(format!("there is no unit {id}; see `reposync queue list`"))
}

fn no_dead_unit(id: i64) -> CommandError {
    CommandError::invalid(format!("there is no dead unit {id}; see `reposync queue list --state dead`"))
}
