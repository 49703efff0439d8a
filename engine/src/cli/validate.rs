//! `reposync validate`: checks the file like the daemon would. Without `--online` it sends no requests, except
//! for components that are not in the cache.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config, Need};
use crate::factory::{self, StageFactory};
use crate::model::{EventSink, StageError, mask_secrets};
use crate::sync::{self, Probe};

use super::context::Context;
use super::error::{CommandError, CommandResult};
use super::exit::Exit;
use super::output::{Style, escape};
use super::render::findings::{Finding, github, sarif};

/// Arguments of `validate`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ValidateArgs {
    /// Print the resolved configuration: defaults filled in, secrets masked
    #[arg(long, conflicts_with = "format")]
    show: bool,
    /// Do not resolve references to variables and files, for untrusted files such as those of pull
    /// requests
    #[arg(long, conflicts_with_all = ["show", "online"])]
    no_env: bool,
    /// Also send a request to every service: list repositories, embed a word, describe stores
    #[arg(long, conflicts_with = "show")]
    online: bool,
    /// Output format of problems
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

const EXAMPLES: &str = "\
Notifiers are not asked, as that would send a message.

Examples:
  reposync validate --online
  reposync validate --no-env --format github      in a workflow of GitHub Actions
  reposync validate --format sarif > reposync.sarif
";

/// Output formats of problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Readable, with snippets, on standard error
    Text,
    /// One object with all problems
    Json,
    /// GitHub Actions annotations
    Github,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

/// The results of all checks.
#[derive(Default)]
struct Checked {
    findings: Vec<Finding>,
    /// What is most likely a mistake, and no error.
    warnings: Vec<Finding>,
    services: Vec<Probe>,
}

/// Runs the command.
pub(super) async fn run(context: &Context, args: ValidateArgs) -> CommandResult {
    let path = context.config_path()?;
    let need = context.need(&Need::enabled().with_api()).strict();
    let need = if args.no_env { need.without_references() } else { need };
    let config = match config::load(&path, &need) {
        Ok(config) => config,
        Err(problems) if args.format == Format::Text => return Err(context.invalid(&problems)),
        Err(problems) => {
            let findings = problems.list().iter().map(Finding::of_problem).collect();
            let checked = Checked { findings, ..Checked::default() };
            print(context, args.format, &path, &checked)?;
            return Ok(Exit::Invalid);
        }
    };
    let text = if args.show { config::show(&config) } else { summary(&path, &config) };
    let (config, faults) = component_faults(config).await?;
    if !faults.is_empty() && args.format == Format::Text {
        return Err(CommandError::rendered(Exit::Invalid, rendered(faults, &context.out.error_style)));
    }
    let warnings = config::unmatched_globs(&config);
    let mut checked = Checked {
        findings: faults.iter().flat_map(findings).collect(),
        warnings: warnings.iter().map(Finding::of_problem).collect(),
        services: Vec::new(),
    };
    if args.online && faults.is_empty() {
        checked.services = probe(&config).await?;
        let refused = checked.services.iter().filter_map(|probe| probe.answer.as_ref().err());
        checked.findings.extend(refused.map(|error| Finding::of_error("service", error)));
    }
    let exit = match (&faults[..], &checked.findings[..]) {
        ([], []) => Exit::Done,
        ([], _) => Exit::Failed,
        (_, _) => Exit::Invalid,
    };
    if args.format != Format::Text {
        print(context, args.format, &path, &checked)?;
        return Ok(exit);
    }
    let label = context.out.error_style.warning("warning:");
    for warning in &checked.warnings {
        context.out.message(&format!("{label} {}\n", escape(&mask_secrets(&warning.text()))));
    }
    let services = services(&checked.services, &context.out.style);
    if args.show || !context.quiet() || exit != Exit::Done {
        let text = mask_secrets(&text);
        let lines: Vec<_> = text.lines().map(escape).collect();
        context.out.data(&format!("{}\n{}", lines.join("\n"), mask_secrets(&services)))?;
    }
    Ok(exit)
}

/// Checks the components in use and their config. New components are compiled, off the executor.
async fn component_faults(config: Config) -> anyhow::Result<(Config, Vec<Fault>)> {
    let factory = StageFactory::new(CancellationToken::new(), EventSink::none());
    let faults = tokio::task::spawn_blocking(move || {
        let faults = factory.component_faults(&config);
        let faults =
            faults.into_iter().map(|error| (factory::config_problems(&config, &error), error)).collect();
        (config, faults)
    });
    faults.await.context("the check of components panicked")
}

/// Why a component cannot be used, with the problems of the file if its config is the cause.
type Fault = (Option<config::Problems>, StageError);

/// The problems of a fault with their positions, or the fault itself.
fn findings((problems, error): &Fault) -> Vec<Finding> {
    match problems {
        Some(problems) => problems.list().iter().map(Finding::of_problem).collect(),
        None => vec![Finding::of_error("component", error)],
    }
}

/// Sends a request to each service of the enabled projects.
async fn probe(config: &Config) -> anyhow::Result<Vec<Probe>> {
    let factory = StageFactory::new(CancellationToken::new(), EventSink::none());
    let config = config.clone();
    let candidates = tokio::task::spawn_blocking(move || factory.candidates(&config, &[]));
    let candidates = candidates.await.context("the stages could not be made")?;
    Ok(sync::probe(&candidates).await)
}

/// One line per service, with the hint if it refused the request.
fn services(probes: &[Probe], style: &Style) -> String {
    let mut text = String::new();
    for probe in probes {
        let stage = escape(&probe.stage);
        let project = escape(&probe.project);
        match &probe.answer {
            Ok(answer) => {
                let verdict = style.good("ok");
                text.push_str(&format!("{verdict}       {stage} (for `{project}`): {}\n", escape(answer)));
            }
            Err(error) => {
                let verdict = style.bad("refused");
                let message = error.one_line();
                text.push_str(&format!("{verdict}  {stage} (for `{project}`): {}\n", escape(&message)));
                if let Some(hint) = &error.hint {
                    text.push_str(&format!("         {} {}\n", style.advice("hint:"), escape(hint)));
                }
            }
        }
    }
    text
}

/// Prints machine-readable output.
fn print(context: &Context, format: Format, path: &Path, checked: &Checked) -> anyhow::Result<()> {
    // Relative to the current folder, as annotations require.
    let here = std::env::current_dir()?;
    let file = path.strip_prefix(&here).unwrap_or(path);
    match format {
        Format::Github => context.out.data(&mask_secrets(&github(file, &checked.findings)))?,
        Format::Sarif => context.out.json(&sarif(file, &checked.findings))?,
        Format::Text | Format::Json => context.out.json(&as_json(file, checked))?,
    }
    Ok(())
}

fn as_json(file: &Path, checked: &Checked) -> Value {
    let service = |probe: &Probe| {
        let (answer, error) = match &probe.answer {
            Ok(answer) => (Some(answer.clone()), None),
            Err(error) => (None, Some(error.one_line())),
        };
        json!({ "stage": probe.stage, "project": probe.project, "answer": answer, "error": error })
    };
    json!({
        "file": file.display().to_string(),
        "valid": checked.findings.is_empty(),
        "problems": checked.findings,
        "warnings": checked.warnings,
        "services": checked.services.iter().map(service).collect::<Vec<_>>(),
    })
}

fn rendered(faults: Vec<Fault>, style: &Style) -> String {
    let one = |(problems, mut error): Fault| match problems {
        None => CommandError::from(error).render(style),
        Some(problems) => {
            let shown = problems.render(style.color(), style.width);
            // The snippets already contain cause and hint.
            (error.source, error.hint) = (None, None);
            format!("{}\n{shown}", CommandError::from(error).render(style))
        }
    };
    faults.into_iter().map(one).collect::<Vec<_>>().join("\n")
}

fn summary(path: &Path, config: &Config) -> String {
    let disabled = match config.projects.iter().filter(|project| !project.enabled).count() {
        0 => String::new(),
        n => format!(" ({n} disabled)"),
    };
    let projects = count(config.projects.len(), "project");
    let in_use: BTreeSet<&str> =
        config.projects.iter().filter(|project| project.enabled).flat_map(config::Project::stages).collect();
    let stages = count(in_use.len(), "stage");
    format!("{} is valid: {projects}{disabled}, {stages} in use\n", path.display())
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_what_is_declared() {
        let text = include_str!("../../../reposync.toml");
        let need = Need::enabled().with_env(|_| None);
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../reposync.toml"));
        let config = config::parse_str(root, text, &need).expect("valid");
        insta::assert_snapshot!(summary(Path::new("reposync.toml"), &config), @"reposync.toml is valid: 1 project, 7 stages in use");
    }
}
