//! Runs a command on a thread that may block.

use anyhow::Context as _;

use crate::cli::error::CommandResult;

/// Components and tools block, so they run off the executor.
pub(super) async fn blocking(command: impl FnOnce() -> CommandResult + Send + 'static) -> CommandResult {
    tokio::task::spawn_blocking(command).await.context("the command panicked")?
}
