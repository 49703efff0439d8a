//! `reposync daemon`

use std::sync::Arc;

use clap::Args;
use futures::FutureExt as _;
use tokio_util::sync::CancellationToken;

use crate::api;
use crate::config::{Config, Need};
use crate::daemon::{Daemon, Listening};

use super::context::Context;
use super::error::CommandResult;
use super::exit::Exit;
use super::interrupt::Interrupt;

/// Arguments of `daemon`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct DaemonArgs {}

const AFTER: &str = "\
It runs in the foreground. SIGHUP and `reposync reload` take up the file, as does saving it;
SIGTERM and Ctrl-C stop it after the current batch, a second one stops it at once.
";

/// Runs the command.
pub(super) async fn run(context: &Context, _args: &DaemonArgs) -> CommandResult {
    let need = context.need(&Need::enabled().with_api());
    let config = context.load_to_follow(&need)?;
    let interrupt = Interrupt::listen(&context.progress)?;
    serve(config, need, interrupt.token()).await?;
    Ok(Exit::Done)
}

/// Runs the daemon until it is cancelled.
async fn serve(config: Config, need: Need, cancel: CancellationToken) -> anyhow::Result<()> {
    // Bind the port first, so that a port in use is reported before anything starts.
    let tls = config.api.tls.clone();
    let tls = tls.map(|files| api::TlsFiles { cert: files.cert, key: files.key });
    let listen = api::Listen { listen: config.api.listen, probe: config.api.probe_listen, tls };
    let server = api::bind(listen).await?;
    let listening = server.listening();
    let metrics = Arc::new(api::Metrics::new());
    let daemon = Daemon::open(config, need, metrics.observer(), cancel.clone()).await?;
    let serving = server.start(daemon.handle(), metrics)?;
    let working = daemon.start(listening)?;
    let Listening { listen: address, probe, tls } = listening;
    tracing::info!(%address, tls, "the daemon listens");
    if let Some(address) = probe {
        tracing::info!(%address, "the daemon listens for probes");
    }
    // If one of the two ends, the other is stopped.
    let serving = serving.ended().inspect(|_| cancel.cancel());
    let working = working.inspect(|_| cancel.cancel());
    let (served, worked) = tokio::join!(serving, working);
    served?;
    Ok(worked??)
}
