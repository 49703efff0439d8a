//! The tools of each language: finding and running them.

mod c;
mod command;
mod entry;
mod javascript;
mod locate;
mod python;
mod remap;
mod rust;
mod sourcemap;

use std::path::Path;

use super::record::Record;
use crate::cli::error::CommandError;

pub(super) use command::Built;
pub(super) use entry::Entry;

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
