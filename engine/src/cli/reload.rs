//! `reposync reload`

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;

use crate::config::{Config, Need};
use crate::daemon::{DaemonRecord, reload_dispatcher};
use crate::net::read_body;

use super::context::Context;
use super::daemon_client::{DaemonClient, LONGEST_ANSWER};
use super::error::{CommandError, CommandResult};
use super::exit::Exit;
use super::output::escape;

/// How long the daemon may take to notice that the file was saved.
const TAKEN_UP: Duration = Duration::from_secs(8);

/// Arguments of `reload`.
#[derive(Debug, Args)]
pub(super) struct ReloadArgs {}

/// Runs the command.
pub(super) async fn run(context: &Context, _args: &ReloadArgs) -> CommandResult {
    // Problems of the file are shown here, with their positions, before the daemon would refuse it.
    let config = context.load(&Need::enabled().with_api())?;
    let reloaded = reload(&config).await?;
    if reloaded.refused {
        let message = format!("the daemon refused the file: {}", reloaded.message);
        return Err(CommandError::invalid(message)
            .hint("the daemon keeps the running configuration until the file is fixed"));
    }
    if !context.quiet() {
        context.out.data(&format!("{}\n", escape(&reloaded.message)))?;
    }
    Ok(Exit::Done)
}

/// The result of a reload.
#[derive(Debug)]
struct Reloaded {
    /// True if the file was refused; the running configuration is kept.
    refused: bool,
    /// The result in one line.
    message: String,
}

/// Makes the daemon of this file reload it; returns the result.
async fn reload(config: &Config) -> anyhow::Result<Reloaded> {
    let state = &config.engine.state;
    let Some(record) = DaemonRecord::read(state) else {
        // Those of a state in a database may run on other machines.
        if state.file().is_none()
            && let Some((refused, message)) = reload_dispatcher(state).await?
        {
            return Ok(Reloaded { refused, message: format!("the dispatcher: {message}") });
        }
        bail!("no daemon serves the ledger `{}`", state.shown());
    };
    let client = DaemonClient::new(Some(&config.api), &record)?;
    let address = client.address();
    let started = Instant::now();
    loop {
        let answer = client
            .post("/reload")
            .send()
            .await
            .with_context(|| format!("failed to reach the daemon on {address}"))?;
        let status = answer.status().as_u16();
        // The daemon accepts a changed token only once it has reloaded the file.
        if matches!(status, 401 | 403) && started.elapsed() < TAKEN_UP {
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        }
        let body = read_body(answer, LONGEST_ANSWER).await.context("failed to read the daemon's answer")?;
        let body = body.with_context(|| format!("the answer of the daemon on {address} has no end"))?;
        let body: serde_json::Value = serde_json::from_slice(&body)
            .with_context(|| format!("what listens on {address} does not answer as a daemon does"))?;
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        return match status {
            200 => Ok(Reloaded {
                refused: false,
                message: format!("{}: {}", text(&body["outcome"]), text(&body["message"])),
            }),
            422 => Ok(Reloaded { refused: true, message: text(&body["message"]) }),
            _ => bail!("the daemon on {address} answers {status}: {}", text(&body["error"]["message"])),
        };
    }
}
