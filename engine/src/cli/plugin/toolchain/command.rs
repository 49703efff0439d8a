//! Running a tool, and what it gives.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::cli::error::CommandError;

/// The output of a tool.
pub(in crate::cli::plugin) enum Built {
    /// A component.
    Component(Vec<u8>),
    /// A core module, still to be encoded as a component.
    Module(Vec<u8>),
}

pub(super) fn missing(message: &str) -> CommandError {
    CommandError::invalid(message)
}

pub(super) fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("failed to read `{}`", file.display()))
}

/// Runs a tool and returns its standard output.
pub(super) fn run(command: &mut Command, tool: &str) -> anyhow::Result<Vec<u8>> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("failed to start {tool}"))?;
    if !output.status.success() {
        bail!("{tool} failed ({})", output.status);
    }
    Ok(output.stdout)
}

/// Runs a tool and includes its output in the error if it fails.
pub(super) fn run_shown(command: &mut Command, tool: &str) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("failed to start {tool}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    bail!("{tool} failed ({})\n{}", output.status, String::from_utf8_lossy(&said).trim_end())
}

/// A tool's version output in one line.
pub(super) fn version(command: &mut Command, tool: &str) -> anyhow::Result<String> {
    let printed = run(command, tool)?;
    Ok(String::from_utf8_lossy(&printed).split_whitespace().collect::<Vec<_>>().join(" "))
}
