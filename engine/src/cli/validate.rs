//! `reposync validate`: checks the file as the daemon would, without a single request.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config, Need};
use crate::model::{EventSink, StageError, mask_secrets};
use crate::wire::{self, Workshop};

use super::context::Context;
use super::error::{CommandError, CommandResult};
use super::exit::Exit;
use super::output::{Style, escape};

/// Runs the command: one line about what the file declares, or (`shown`) what the program goes by:
/// resolved, defaults filled in, secrets masked. With `no_env` references are left as they are.
pub(super) async fn run(context: &Context, shown: bool, no_env: bool) -> CommandResult {
    let path = context.config_path()?;
    let need = context.need(&Need::enabled().with_api()).strict();
    let need = if no_env { need.without_references() } else { need };
    let config = config::load(&path, &need).map_err(|it| context.invalid(&it))?;
    let text = if shown { config::show(&config) } else { summary(&path, &config) };
    let faults = component_faults(config).await?;
    if !faults.is_empty() {
        return Err(CommandError::rendered(Exit::Invalid, rendered(faults, &context.out.error_style)));
    }
    if shown || !context.quiet() {
        let text = mask_secrets(&text);
        let lines: Vec<_> = text.lines().map(escape).collect();
        context.out.data(&format!("{}\n", lines.join("\n")))?;
    }
    Ok(Exit::Done)
}

/// What the components in use, and what they are told, would be refused for. Compiles those that
/// are new, off the executor.
async fn component_faults(config: Config) -> anyhow::Result<Vec<Fault>> {
    let workshop = Workshop::new(CancellationToken::new(), EventSink::none());
    tokio::task::spawn_blocking(move || {
        let faults = workshop.component_faults(&config);
        faults.into_iter().map(|error| (wire::config_problems(&config, &error), error)).collect()
    })
    .await
    .context("the check of components broke off")
}

/// Why a component cannot be used; with the lines of the file that it objects to, if it does.
type Fault = (Option<config::Problems>, StageError);

fn rendered(faults: Vec<Fault>, style: &Style) -> String {
    let one = |(problems, mut error): Fault| match problems {
        None => CommandError::from(error).render(style),
        Some(problems) => {
            let shown = problems.render(style.color(), style.width);
            // The snippets say it all, and better.
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
