//! `reposync apply`

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::app::{App, ApplyRequest};
use crate::config::Need;
use crate::factory::RunFlags;
use crate::model::{ErrorKind, GuardKind, Outcome, Report};
use crate::sync::SavedPlan;

use super::context::Context;
use super::error::{CommandError, CommandResult};
use super::exit::Exit;
use super::interrupt::Interrupt;
use super::output::escape;
use super::render;
use super::run_options::RunOptions;

/// Arguments of `apply`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ApplyArgs {
    /// A plan saved by `plan --out`; executed as shown, with its options
    #[arg(value_name = "PLAN", conflicts_with_all = ["projects", "full", "prune", "allow_deletes", "allow_cost"])]
    plan: Option<PathBuf>,
    #[command(flatten)]
    options: RunOptions,
    /// Fail if a component differs from `reposync.lock`
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
        Some(plan) => plan.projects(),
        None => args.options.projects.projects.clone(),
    };
    let config = context.load(&Need::selected(&projects))?;
    let interrupt = Interrupt::listen(&context.progress)?;
    let asks = !args.json && saved.is_none();
    let ApplyArgs { options, locked, wait, .. } = args;
    let run = async |flags: RunFlags, saved: Option<SavedPlan>| -> Result<Report, CommandError> {
        let shown = context.progress.show(context.display(args.json));
        let (app, lease) = App::for_run(config.clone(), wait, shown.sink(), interrupt.token()).await?;
        let request = ApplyRequest { projects: options.projects.projects.clone(), flags, saved, locked };
        let result = app.apply(lease.clone(), request).await;
        drop(lease);
        let outcome = result.as_ref().ok().map(|report| report.outcome);
        if let Err(error) = app.record_audit(&user(), "apply", &projects, outcome).await {
            tracing::warn!(error = %error.one_line(), "the audit entry was not kept");
        }
        Ok(result?)
    };
    let mut report = run(options.flags(), saved).await?;
    if asks && asks_to_spend(&report)? {
        report = run(RunFlags { allow_cost: true, ..options.flags() }, None).await?;
    }
    if args.json {
        context.out.json(&report)?;
        warn_of_quality(context, &report);
    } else if !context.quiet() || report.outcome != Outcome::Done {
        context.out.data(&render::summary::render(&report, &context.out.style))?;
    } else {
        warn_of_quality(context, &report);
    }
    Ok(Exit::of_run(report.outcome))
}

/// Prints which golden questions find less, where the summary does not.
fn warn_of_quality(context: &Context, report: &Report) {
    let label = context.out.error_style.warning("search quality:");
    for part in &report.projects {
        if let Some(quality) = part.search_quality.as_ref().filter(|quality| quality.is_bad()) {
            let message = format!("{label} `{}`: {}\n", escape(&part.project), escape(&quality.message()));
            context.out.message(&message);
        }
    }
}

/// The user, as the environment names it.
fn user() -> String {
    let names = ["USER", "LOGNAME", "USERNAME"].map(|name| std::env::var(name).ok());
    names.into_iter().flatten().find(|name| !name.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

/// Asks on a terminal whether to embed what the spending guard withheld.
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

/// Reads a saved plan. An unreadable file is an invalid argument, an invalid plan is refused.
fn read_plan(path: &Path) -> Result<SavedPlan, CommandError> {
    SavedPlan::read(path).map_err(|error| match error.kind {
        ErrorKind::Local => CommandError::invalid(error.one_line()),
        _ => error.into(),
    })
}
