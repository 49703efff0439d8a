//! Arguments of the subcommands.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// A language with a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Language {
    /// Rust, on the plugin SDK
    Rust,
    /// JavaScript
    Js,
    /// Python
    Python,
    /// C
    C,
}

/// Arguments of `plugin new`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  reposync plugin new recipes --lang python")]
pub(in crate::cli) struct NewArgs {
    /// The chunker's name: lower-case letters, digits and dashes
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    /// The language
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    pub(super) lang: Language,
    /// The folder to create [default: NAME]
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
}

/// Arguments of `plugin build`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  reposync plugin build recipes --out recipes.wasm\n  reposync plugin build --module recipes-core.wasm"
)]
pub(in crate::cli) struct BuildArgs {
    /// The project's folder
    #[arg(value_name = "DIR", default_value = ".")]
    pub(super) dir: PathBuf,
    /// Path of the component [default: NAME.wasm in the project's folder]
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    /// Make a component from this core module, which another tool built
    #[arg(long, value_name = "FILE", conflicts_with = "dir")]
    pub(super) module: Option<PathBuf>,
    /// SPDX expression of the licence, for the component's metadata [default: that of Cargo.toml,
    /// package.json or pyproject.toml]
    #[arg(long, value_name = "SPDX")]
    pub(super) license: Option<String>,
    /// Build even if the existing component was built from the same sources, tools and libraries
    #[arg(long, conflicts_with = "module")]
    pub(super) force: bool,
}

/// Arguments of `plugin test`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  reposync plugin test recipes.wasm fixtures/*.md --settings '{\"level\": 2}'"
)]
pub(in crate::cli) struct TestArgs {
    /// The component
    #[arg(value_name = "COMPONENT")]
    pub(super) component: PathBuf,
    /// Documents to chunk and print; the golden output of FILE is `FILE.chunks.json` next to it
    #[arg(value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// The component's configuration, as JSON
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub(super) settings: String,
    /// Write the golden outputs instead of comparing with them
    #[arg(long)]
    pub(super) update: bool,
    /// Count instructions instead of time, so that results are reproducible
    #[arg(long)]
    pub(super) deterministic: bool,
    /// Print the chunks as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Arguments of `plugin try`.
#[derive(Debug, Args)]
#[command(
    after_help = "The stage need not be part of a pipeline yet.\n\nExample:\n  reposync plugin try terraform infra/main.tf"
)]
pub(in crate::cli) struct TryArgs {
    /// The stage: a chunker of any kind
    #[arg(value_name = "STAGE")]
    pub(super) stage: String,
    /// Files to chunk
    #[arg(value_name = "FILE", required = true)]
    pub(super) files: Vec<PathBuf>,
    /// Print the chunks as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Arguments of `plugin inspect`.
#[derive(Debug, Args)]
pub(in crate::cli) struct InspectArgs {
    /// The component
    #[arg(value_name = "COMPONENT")]
    pub(super) component: PathBuf,
    /// Print it as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Arguments of `plugin add`.
#[derive(Debug, Args)]
#[command(
    after_help = "It fetches the component, shows what it is and what changes in the file, and pins its digest: in\nthe stage, or for `oci://` in reposync.lock.\n\nExamples:\n  reposync plugin add builtin:notebook\n  reposync plugin add https://example.com/notes-1.2.0.wasm --stage notes\n  reposync plugin add oci://ghcr.io/acme/notes:1.2"
)]
pub(in crate::cli) struct AddArgs {
    /// `https://…`, `oci://HOST/NAME:TAG`, a file, or `builtin:NAME` (changelog, notebook,
    /// restructuredtext, sql)
    #[arg(value_name = "COMPONENT")]
    pub(super) component: String,
    /// Name of the stage [default: the component's name]
    #[arg(long, value_name = "NAME")]
    pub(super) stage: Option<String>,
    /// The digest that the component must have
    #[arg(long, value_name = "DIGEST")]
    pub(super) sha256: Option<String>,
}

/// Arguments of `plugin outdated`.
#[derive(Debug, Args)]
pub(in crate::cli) struct OutdatedArgs {
    /// Print it as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Arguments of `plugin update`.
#[derive(Debug, Args)]
pub(in crate::cli) struct UpdateArgs {
    /// The stages to update [default: all whose component has an address]
    #[arg(value_name = "STAGE")]
    pub(super) stages: Vec<String>,
}

/// Arguments of `plugin bench`.
#[derive(Debug, Args)]
pub(in crate::cli) struct BenchArgs {
    /// The component
    #[arg(value_name = "COMPONENT")]
    pub(super) component: PathBuf,
    /// Documents to chunk repeatedly [default: generated ones]
    #[arg(value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// The component's configuration, as JSON
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub(super) settings: String,
}
