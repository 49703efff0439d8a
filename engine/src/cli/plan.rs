//! `reposync plan`

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;

use crate::config::Need;
use crate::plan::Plan;
use crate::private;

use super::context::Context;
use super::engine::{self, PlanRequest};
use super::error::CommandError;
use super::exit::{Detailed, Exit};
use super::interrupt::Interrupt;
use super::{Projects, render};

/// Arguments of `plan`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(after_help = format!("{EXAMPLES}\n{}", super::exit::detailed_help_table()))]
pub(super) struct PlanArgs {
    #[command(flatten)]
    projects: Projects,
    /// Fetch and chunk the files, so that chunks, texts, tokens and price are counted, not estimated
    #[arg(long)]
    exact: bool,
    /// Plan as if the spending guard let everything pass
    #[arg(long)]
    allow_cost: bool,
    /// Save the plan for `reposync apply FILE`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Exit with 0 when nothing is to be done, 2 when something is, 1 on any error
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
    let config = context.load_to_read(&Need::selected(&args.projects.projects))?;
    let interrupt = Interrupt::listen(&context.progress)?;
    let shown = context.progress.show(context.display(args.json));
    let request =
        PlanRequest { projects: args.projects.projects, exact: args.exact, allow_cost: args.allow_cost };
    let plan = engine::plan(&config, &request, shown.sink(), interrupt.token()).await;
    drop(shown);
    let plan = plan?;
    if let Some(path) = &args.out {
        save(&plan, path)?;
    }
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

fn save(plan: &Plan, path: &PathBuf) -> anyhow::Result<()> {
    // It names files and commits of repositories that not everybody may see.
    let write = || {
        let mut file = private::options().write(true).create(true).truncate(true).open(path)?;
        file.write_all(&serde_json::to_vec_pretty(plan)?).map_err(anyhow::Error::from)
    };
    write().with_context(|| format!("failed to save the plan to `{}`", path.display()))
}
