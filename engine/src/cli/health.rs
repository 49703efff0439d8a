//! `reposync health`

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::config::{Config, Need};
use crate::daemon::DaemonRecord;
use crate::net::read_body;

use super::context::Context;
use super::daemon_client::{DaemonClient, LONGEST_ANSWER};
use super::error::CommandResult;
use super::exit::Exit;
use super::output::escape;

/// Time-out of a health check, shorter than that of a container's health check.
const HEALTH: Duration = Duration::from_secs(2);

/// Arguments of `health`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct HealthArgs {}

const EXAMPLES: &str = "\
Exits with 0 where the daemon of this file answers, also while it is degraded, and with 1 where it does not.
Needs no token and no secrets, for health checks of containers.
";

/// Runs the command.
pub(super) async fn run(context: &Context, _args: &HealthArgs) -> CommandResult {
    let config = context.load_to_read(&Need::enabled().only(&[]))?;
    let status = health(&config).await?;
    if !context.quiet() {
        context.out.data(&format!("{}\n", escape(&status)))?;
    }
    Ok(Exit::Done)
}

/// The health that the daemon of this file reports: `healthy` or `degraded`.
///
/// Fails if no daemon serves the ledger, or if it does not respond in time.
async fn health(config: &Config) -> anyhow::Result<String> {
    let Some(record) = DaemonRecord::read(&config.engine.state) else {
        bail!("no daemon serves the ledger `{}`", config.engine.state.shown());
    };
    let client = DaemonClient::new(Some(&config.api), &record)?;
    let address = client.address();
    let answer = client.get("/health").timeout(HEALTH).send().await;
    let answer = answer.with_context(|| format!("failed to reach the daemon on {address}"))?;
    let status = answer.status();
    if !status.is_success() {
        bail!("the daemon on {address} answers {}", status.as_u16());
    }
    let body = read_body(answer, LONGEST_ANSWER).await.context("failed to read the daemon's answer")?;
    let body: serde_json::Value = serde_json::from_slice(&body.unwrap_or_default())
        .with_context(|| format!("what listens on {address} does not answer as a daemon does"))?;
    Ok(body["status"].as_str().unwrap_or("unknown").to_owned())
}
