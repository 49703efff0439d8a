//! `reposync apply`

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::Need;
use crate::model::{GuardKind, Outcome, Report};
use crate::plan::Plan;

use super::context::Context;
use super::engine::{self, ApplyRequest};
use super::error::{CommandError, CommandResult};
use super::exit::Exit;
use super::interrupt::Interrupt;
use super::output::escape;
use super::{Projects, render};

/// Arguments of `apply`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(after_help = EXAMPLES)]
pub(super) struct ApplyArgs {
    /// A plan saved by `plan --out`; refused when anything has moved since
    #[arg(value_name = "PLAN", conflicts_with_all = ["projects", "full", "prune"])]
    plan: Option<PathBuf>,
    #[command(flatten)]
    projects: Projects,
    /// Believe neither ledger nor stored answers: list, fetch, chunk and write every file again
    #[arg(long)]
    full: bool,
    /// Remove orphans: projects taken out of the file, repositories gone from the source
    #[arg(long)]
    prune: bool,
    /// Let the deletion guard pass everything
    #[arg(long)]
    allow_deletes: bool,
    /// Let the spending guard pass everything
    #[arg(long)]
    allow_cost: bool,
    /// Fail when a component differs from `reposync.lock`
    #[arg(long)]
    locked: bool,
    /// Wait for another run to end instead of failing
    #[arg(long)]
    wait: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  reposync apply
  reposync apply --project handbook
  reposync apply changes.json        exactly what `plan --out changes.json` showed
";

/// Runs the command.
pub(super) async fn run(context: &Context, args: ApplyArgs) -> CommandResult {
    let saved = args.plan.as_deref().map(read_plan).transpose()?;
    let projects = match &saved {
        Some(plan) => plan.projects.iter().map(|project| project.project.clone()).collect(),
        None => args.projects.projects,
    };
    let config = context.load(&Need::selected(&projects))?;
    let interrupt = Interrupt::listen(&context.progress)?;
    let request = ApplyRequest {
        projects,
        saved,
        full: args.full,
        prune: args.prune,
        allow_deletes: args.allow_deletes,
        allow_cost: args.allow_cost,
        locked: args.locked,
        wait: args.wait,
    };
    let run = async |request: ApplyRequest| {
        let shown = context.progress.show(context.display(args.json));
        engine::apply(&config, request, shown.sink(), interrupt.token()).await
    };
    let mut report = run(request.clone()).await?;
    if !args.json && asks_to_spend(&report)? {
        report = run(ApplyRequest { allow_cost: true, saved: None, ..request }).await?;
    }
    if args.json {
        context.out.json(&report)?;
    } else if !context.quiet() || report.outcome != Outcome::Done {
        context.out.data(&render::summary::render(&report, &context.out.style))?;
    }
    Ok(Exit::of_run(report.outcome))
}

/// On a terminal, asks whether what the spending guard withheld may be embedded after all.
fn asks_to_spend(report: &Report) -> std::io::Result<bool> {
    let withheld =
        report.projects.iter().flat_map(|project| project.withheld.iter().map(move |w| (project, w)));
    let spending: Vec<_> = withheld.filter(|(_, withheld)| withheld.guard == GuardKind::Spending).collect();
    let terminal = console::Term::stderr();
    if spending.is_empty() || !terminal.is_term() || !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    for (project, withheld) in spending {
        terminal.write_line(&format!("{}: {}", escape(&project.project), escape(&withheld.message)))?;
    }
    terminal.write_str("Embed it now? [y/N] ")?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Plans of this form are understood.
const PLAN_VERSION: u32 = 1;

fn read_plan(path: &Path) -> Result<Plan, CommandError> {
    let shown = path.display();
    let bytes = std::fs::read(path)
        .map_err(|error| CommandError::invalid(format!("cannot read the plan `{shown}`: {error}")))?;
    let hint = "`reposync plan --out FILE` saves one";
    let plan: Plan = serde_json::from_slice(&bytes)
        .map_err(|error| CommandError::invalid(format!("`{shown}` is no saved plan: {error}")).hint(hint))?;
    if plan.version != PLAN_VERSION {
        let message = format!("the plan `{shown}` has version {}, not {PLAN_VERSION}", plan.version);
        return Err(CommandError::invalid(message).hint(hint));
    }
    Ok(plan)
}
