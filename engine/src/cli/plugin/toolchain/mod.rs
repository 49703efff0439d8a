//! The tools of each language: finding and running them.

mod c;
mod javascript;
mod locate;
mod python;
mod remap;
mod rust;
mod sourcemap;

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use super::record::{Inputs, Record};
use crate::cli::error::CommandError;

/// The output of a tool.
pub(super) enum Built {
    /// A component.
    Component(Vec<u8>),
    /// A core module, still to be encoded as a component.
    Module(Vec<u8>),
}

/// The file that contains a project's chunker, which determines the tool that builds the project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// `Cargo.toml`
    Rust,
    /// `chunker.ts`
    TypeScript,
    /// `chunker.js`
    JavaScript,
    /// `chunker.py`
    Python,
    /// `chunker.cpp`
    Cpp,
    /// `chunker.c`
    C,
}

impl Entry {
    /// In order of precedence: TypeScript comes first, since it may have been compiled to
    /// JavaScript next to its source.
    const ALL: [Self; 6] = [Self::Rust, Self::TypeScript, Self::JavaScript, Self::Python, Self::Cpp, Self::C];

    /// The entry file in a folder.
    pub(super) fn of(dir: &Path) -> Option<Self> {
        Self::ALL.into_iter().find(|entry| dir.join(entry.file()).is_file())
    }

    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Rust => "Cargo.toml",
            Self::TypeScript => "chunker.ts",
            Self::JavaScript => "chunker.js",
            Self::Python => "chunker.py",
            Self::Cpp => "chunker.cpp",
            Self::C => "chunker.c",
        }
    }

    pub(super) fn language(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::TypeScript => "TypeScript",
            Self::JavaScript => "JavaScript",
            Self::Python => "Python",
            Self::Cpp => "C++",
            Self::C => "C",
        }
    }
}

/// The tools for a project.
pub(super) enum Toolchain {
    Rust,
    Script(javascript::Tools),
    Python(python::Tools),
    C(Entry),
}

impl Toolchain {
    /// Finds the tools for the project in `dir` (absolute).
    pub(super) fn find(entry: Entry, dir: &Path) -> Result<Self, CommandError> {
        Ok(match entry {
            Entry::Rust => Self::Rust,
            Entry::TypeScript | Entry::JavaScript => Self::Script(javascript::Tools::find(entry, dir)?),
            Entry::Python => Self::Python(python::Tools::find(dir)?),
            Entry::Cpp | Entry::C => Self::C(entry),
        })
    }

    /// The record of a build, for tools whose output is not reproducible; `None` for others.
    pub(super) fn record(&self, dir: &Path) -> anyhow::Result<Option<Record>> {
        let inputs = match self {
            Self::Script(tools) => tools.inputs(dir)?,
            Self::Python(tools) => tools.inputs()?,
            Self::Rust | Self::C(_) => return Ok(None),
        };
        Record::of(dir, &inputs).map(Some)
    }

    /// A line about the project's libraries, for languages that take them from an environment.
    pub(super) fn note(&self, dir: &Path) -> Option<String> {
        match self {
            Self::Python(tools) => Some(tools.note(dir)),
            Self::Rust | Self::Script(_) | Self::C(_) => None,
        }
    }

    /// Builds the project for this world. `scratch` is writable and contains `chunker.wit`.
    pub(super) fn build(&self, dir: &Path, scratch: &Path, world: &str) -> Result<Built, CommandError> {
        match self {
            Self::Rust => rust::build(dir),
            Self::Script(tools) => tools.build(dir, scratch, world),
            Self::Python(tools) => tools.build(dir, scratch, world),
            Self::C(entry) => c::build(*entry, dir, scratch),
        }
    }
}

fn missing(message: &str) -> CommandError {
    CommandError::invalid(message)
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("failed to read `{}`", file.display()))
}

/// Runs a tool and returns its standard output.
fn run(command: &mut Command, tool: &str) -> anyhow::Result<Vec<u8>> {
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
fn run_shown(command: &mut Command, tool: &str) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("failed to start {tool}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    bail!("{tool} failed ({})\n{}", output.status, String::from_utf8_lossy(&said).trim_end())
}

/// A tool's version output in one line.
fn version(command: &mut Command, tool: &str) -> anyhow::Result<String> {
    let printed = run(command, tool)?;
    Ok(String::from_utf8_lossy(&printed).split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chunkers_file_says_the_language() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(Entry::of(dir.path()), None);
        for entry in Entry::ALL.into_iter().rev() {
            std::fs::write(dir.path().join(entry.file()), "").expect("written");
            assert_eq!(Entry::of(dir.path()), Some(entry));
        }
    }
}
