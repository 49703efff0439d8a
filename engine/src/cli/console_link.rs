//! `reposync console`

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::Value;

use crate::config::{Config, Need};
use crate::daemon::DaemonRecord;
use crate::net::read_body;

use super::context::Context;
use super::daemon_client::{DaemonClient, LONGEST_ANSWER};
use super::error::CommandResult;
use super::exit::Exit;
use super::output::escape;

/// Arguments of `console`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct ConsoleArgs {}

const AFTER: &str = "\
The link signs in with `[api] token`, or with the token that the daemon generated. It works once, and for ten
minutes.
";

/// Runs the command.
pub(super) async fn run(context: &Context, _args: &ConsoleArgs) -> CommandResult {
    let config = context.load_to_read(&Need::enabled().only(&[]).with_api())?;
    let link = link(&config).await?;
    context.out.data(&format!("{}\n", escape(&link)))?;
    Ok(Exit::Done)
}

/// A link that the daemon of this file made.
async fn link(config: &Config) -> anyhow::Result<String> {
    let Some(record) = DaemonRecord::read(&config.engine.state) else {
        bail!("no daemon serves the ledger `{}`", config.engine.state.shown());
    };
    let client = DaemonClient::new(Some(&config.api), &record)?;
    let address = client.address();
    let answer = client.post("/console/links").send().await;
    let answer = answer.with_context(|| format!("failed to reach the daemon on {address}"))?;
    let status = answer.status().as_u16();
    let body = read_body(answer, LONGEST_ANSWER).await.context("failed to read the daemon's answer")?;
    let body: Value = serde_json::from_slice(&body.unwrap_or_default())
        .with_context(|| format!("what listens on {address} does not answer as a daemon does"))?;
    if status != 200 {
        let message = body["error"]["message"].as_str().unwrap_or_default();
        bail!("the daemon on {address} answers {status}: {message}");
    }
    let path = body["path"].as_str().context("the daemon's answer has no link")?;
    Ok(body["url"].as_str().map_or_else(|| client.url(path), str::to_owned))
}
