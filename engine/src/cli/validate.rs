//! `reposync validate`: checks the file as the daemon would, without a single request.

use std::collections::BTreeSet;
use std::path::Path;

use crate::config::{self, Config, Need, Problems};

use super::context::Context;
use super::error::CommandResult;
use super::exit::Exit;
use super::output::escape;

/// Runs the command.
pub(super) fn run(context: &Context, shown: bool) -> CommandResult {
    let path = context.config_path()?;
    let checked = if shown { show(&path) } else { validate(&path) };
    let text = checked.map_err(|problems| context.invalid(&problems))?;
    if shown || !context.quiet() {
        let lines: Vec<_> = text.lines().map(escape).collect();
        context.out.data(&format!("{}\n", lines.join("\n")))?;
    }
    Ok(Exit::Done)
}

/// Checks the file; gives one line about what it declares.
fn validate(path: &Path) -> Result<String, Problems> {
    config::load(path, &Need::enabled().with_api()).map(|config| summary(path, &config))
}

/// Checks the file; gives what the program goes by: resolved, defaults filled in, secrets masked.
fn show(path: &Path) -> Result<String, Problems> {
    config::load(path, &Need::enabled().with_api()).map(|config| config::show(&config))
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
