//! `reposync verify`

use clap::Args;

use crate::config::{Need, Role};
use crate::model::VerifyReport;

use super::context::Context;
use super::error::CommandResult;
use super::exit::Exit;
use super::interrupt::Interrupt;
use super::projects::Projects;
use super::serving::Basis;
use super::{engine, render};

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    projects: Projects,
    /// Repair differences: write missing vectors from the cache, delete unknown ones
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
        Basis::File(config) => {
            engine::verify(config, &projects, args.repair, shown.sink(), interrupt.token()).await
        }
        Basis::Daemon(serving) => serving.verify(&projects).await,
    };
    drop(shown);
    let report = report?;
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
