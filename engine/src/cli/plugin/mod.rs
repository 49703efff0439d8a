//! `reposync plugin …`: tools for authors of chunkers. One file per subcommand.

mod add;
mod args;
mod battery;
mod bench;
mod blocking;
mod build;
mod builtin;
mod contract;
mod edit;
mod encode;
mod golden;
mod inspect;
mod metadata;
mod new;
mod record;
mod template;
mod test;
mod toolchain;
mod try_stage;
mod workbench;

use clap::Subcommand;

use crate::chunk::component::WIT;

use super::context::Context;
use super::error::CommandResult;
use super::exit::Exit;
use args::{
    AddArgs, BenchArgs, BuildArgs, InspectArgs, NewArgs, OutdatedArgs, TestArgs, TryArgs, UpdateArgs,
};
use blocking::blocking;

/// The subcommands of `plugin`.
#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// Create a project that builds and passes its own test without changes
    New(NewArgs),
    /// Build a component from a project or a core module, and check it
    Build(BuildArgs),
    /// Run a component on files and check that it complies with the contract
    Test(TestArgs),
    /// Print the chunks that a stage of reposync.toml makes of files, without indexing them
    Try(TryArgs),
    /// Show a component's description: name, version, digest, imports, settings
    Inspect(InspectArgs),
    /// Add a component to reposync.toml: from a URL, a registry, a file, or one that comes with RepoSync
    Add(AddArgs),
    /// Compare the components that have an address with what is there now
    Outdated(OutdatedArgs),
    /// Take up what the addresses of components name now
    Update(UpdateArgs),
    /// Measure a component: start-up, calls, megabytes per second, memory
    Bench(BenchArgs),
    /// Print the contract between engine and components (WIT)
    Wit,
}

/// Runs the command.
pub(super) async fn run(context: &Context, command: PluginCommand) -> CommandResult {
    let out = context.out.clone();
    match command {
        PluginCommand::Wit => {
            out.data(WIT)?;
            Ok(Exit::Done)
        }
        PluginCommand::New(args) => new::run(context, &args),
        PluginCommand::Build(args) => blocking(move || build::run(&out, &args)).await,
        PluginCommand::Test(args) => blocking(move || test::run(&out, &args)).await,
        PluginCommand::Try(args) => try_stage::run(context, args).await,
        PluginCommand::Inspect(args) => blocking(move || inspect::run(&out, &args)).await,
        PluginCommand::Add(args) => add::add(context, args).await,
        PluginCommand::Outdated(args) => add::outdated(context, args).await,
        PluginCommand::Update(args) => add::update(context, args).await,
        PluginCommand::Bench(args) => blocking(move || bench::run(&out, &args)).await,
    }
}
