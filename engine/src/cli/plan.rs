//! `reposync plan`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::app::{App, PlanRequest};
use crate::config::Need;

use super::context::Context;
use super::error::CommandError;
use super::exit::{Detailed, Exit};
use super::interrupt::Interrupt;
use super::render;
use super::run_options::RunOptions;

/// Arguments of `plan`.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n{}", super::exit::detailed_help_table()))]
pub(super) struct PlanArgs {
    #[command(flatten)]
    options: RunOptions,
    /// Fetch and chunk the files to count chunks, texts, tokens and price exactly
    #[arg(long)]
    exact: bool,
    /// Save the plan for `reposync apply FILE`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Exit with 0 if there is nothing to do, 2 if there is, 1 on any error
    #[arg(long)]
    detailed_exitcode: bool,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  reposync plan
  reposync plan --project handbook --exact
  reposync plan --out changes.json && reposync apply changes.json
";

/// Runs the command.
pub(super) async fn run(context: &Context, args: PlanArgs) -> Result<ExitCode, CommandError> {
    let config = context.load_to_read(&Need::selected(&args.options.projects.projects))?;
    let interrupt = Interrupt::listen(&context.progress)?;
    let shown = context.progress.show(context.display(args.json));
    let flags = args.options.flags();
    let projects = args.options.projects.projects;
    let request = PlanRequest { projects, flags, exact: args.exact, out: args.out };
    let app = App::for_reading(config, shown.sink(), interrupt.token()).await?;
    let plan = app.plan(request).await;
    drop(shown);
    let plan = plan?;
    if args.json {
        context.out.json(&plan)?;
    } else if !context.quiet() || Exit::of_plan(&plan) != Exit::Done {
        context.out.data(&render::plan::render(&plan, &context.out.style))?;
    }
    Ok(if args.detailed_exitcode {
        ExitCode::from(Detailed::of_plan(&plan).code())
    } else {
        Exit::of_plan(&plan).into()
    })
}
