//! `reposync verify`

use clap::Args;

use crate::app::App;
use crate::config::{Config, Need, Role};
use crate::model::VerifyReport;

use super::context::Context;
use super::error::CommandResult;
use super::exit::Exit;
use super::interrupt::Interrupt;
use super::projects::Projects;
use super::render;
use super::serving::Basis;

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    projects: Projects,
    /// Repair differences: write missing vectors again, delete unknown ones
    #[arg(long)]
    repair: bool,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) async fn run(context: &Context, args: VerifyArgs) -> CommandResult {
    let projects = args.projects.projects;
    let need = Need::selected(&projects);
    let basis = if args.repair {
        Basis::File(Box::new(context.load(&need)?))
    } else {
        context.load_or_serving(&need.only(&[Role::Store]))?
    };
    let interrupt = Interrupt::listen(&context.progress)?;
    let shown = context.progress.show(context.display(args.json));
    let report = match &basis {
        Basis::File(config) if args.repair => {
            // Repairing is a writing run.
            let (app, lease) =
                App::for_run(Config::clone(config), false, shown.sink(), interrupt.token()).await?;
            app.repair(lease, &projects).await?
        }
        Basis::File(config) => {
            let app = App::for_reading(Config::clone(config), shown.sink(), interrupt.token()).await?;
            app.verify(&projects).await?
        }
        Basis::Daemon(serving) => serving.verify(&projects).await?,
    };
    drop(shown);
    let exit = exit(&report);
    if args.json {
        context.out.json(&report)?;
    } else if !context.quiet() || exit != Exit::Done {
        context.out.data(&render::verify::render(&report, &context.out.style))?;
    }
    Ok(exit)
}

fn exit(report: &VerifyReport) -> Exit {
    if report.projects.iter().any(|project| project.error.is_some()) {
        Exit::Failed
    } else if report.is_clean() {
        Exit::Done
    } else {
        Exit::Partial
    }
}
